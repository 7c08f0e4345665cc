"""The same odd requests to nginx, HAProxy and the sidecar, before recording origins.

Whatever the sidecar sends on, other readers must split into the same requests; and
what both others refuse, it refuses, too. `python -m tests.differential` shows where
the three differ.

rows.py        the requests
readers.py     who reads what was sent on: a strict reader, h11, http.server
peers.py       the three proxies, their origins, and two of them as judges
"""
