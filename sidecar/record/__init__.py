"""What is told of requests: metrics, access log, fault feed, traces.

All of it reads one `Outcome` a request. On the hot path there are plain numbers
only; series, lines and spans are made when somebody asks, or in another thread.
"""
