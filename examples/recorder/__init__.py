"""Record what real programs send, to have something true to cut.

`record_captures.py` beside this package is the command; the modules hold one group of programs each.
Only the standard library is used, and nothing of framestream: what the captures are compared with
must not come from what they test.
"""
