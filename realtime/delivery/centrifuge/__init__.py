"""The door of the Centrifuge client protocol: what the official SDKs speak.

A *channel* is that protocol's word for a feed, and is said nowhere else.
"""
