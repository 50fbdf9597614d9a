"""The HTTP API: feeds, publications and sources as JSON, described at `/api/docs`.

Async views; everything that asks the database is one unit of work on the feeds' own threads. One error shape.
"""
