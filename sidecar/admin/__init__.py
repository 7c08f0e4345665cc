"""The servers beside the data path: health and metrics for all, admin for this host.

Both are aiohttp, on the same event loop as the traffic: a liveness probe that is
answered proves that the loop turns.
"""
