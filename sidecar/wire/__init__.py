"""HTTP/1.1 as bytes and values: pure, without a socket, a clock or a log.

Heads become values and back, bodies are framed and unframed, and whatever two
readers could understand differently is refused here (RFC 9112, section 11).
"""
