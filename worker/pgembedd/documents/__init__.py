"""Files into pages of text, in processes that may be killed.

`parsers.py` is what others call, `child.py` what a process runs, and `read.py` finds the reader of a file.
"""
