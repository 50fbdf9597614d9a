"""Live queries: Django querysets whose results are feeds, evaluated when the rows they read change.

Refuses to know who watches, and how: a query is demanded (`feeds.demand`), and its result is a publication.
"""
