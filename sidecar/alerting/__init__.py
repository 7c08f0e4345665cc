"""Alerts without Prometheus: groups of failures, told to people.

    groups --> book     which notices are due, to whom: pure
           --> outbox   when a message goes, again, or not at all: pure
           --> words    the same message as JSON, for Slack, DingTalk, mail: pure
           --> sinks    the sockets
    center              a look a second, and an attempt at a time for each receiver

Nothing of the data path waits for any of it.
"""
