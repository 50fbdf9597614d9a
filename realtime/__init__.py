"""Headwater: anything that can be polled, queried or pushed, as live pages and WebSocket streams."""
