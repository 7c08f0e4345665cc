"""Which route a request takes: pure, compiled once, the same cost for any size."""
