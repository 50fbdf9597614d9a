"""Feeds: the journal of publications, its only writer, its readers and the way between processes.

This room knows values and positions. It refuses to know where a value comes from and who watches it.
"""
