"""Decisions about a request: plain objects that change only their own fields.

Time and chance are arguments, so each is tested without a socket, and the same
objects can be run in virtual time.
"""
