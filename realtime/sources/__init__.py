"""Sources: external HTTP endpoints, polled once per interval for everybody.

This room decides where a request may go, makes it, picks values out of the answer and hands them to the
store. It refuses to know who watches.
"""
