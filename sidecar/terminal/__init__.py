"""What a person sees of a sidecar from a terminal, by way of its admin API.

client.py and sse.py speak to it; follow.py and top.py are the two programs; all else
is pure: board.py (what is shown and chosen), picture.py, record.py, words.py (how).
"""
