"""What is told of requests: metrics, access log, fault feed, traces.

    recorder    takes each request that has ended; the rest is told by it
    metrics/    counts, and the series that a scrape sees
    feed/       failures, their groups, events: in memory, on disk, to who listens
    otlp/       spans and log records, to a collector
    (here)      the log, the state of the process, what is watched beside requests

All of it reads one `Outcome` a request. On the hot path there are plain numbers
only; series, lines and spans are made when somebody asks, or in another thread.
"""
