"""Delivery: from an announcement to the sockets and streams that watch a feed.

This room orders, completes and sends what the journal holds. It refuses to write to the journal.
"""
