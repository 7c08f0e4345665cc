"""Which route a request takes: pure, compiled once, at a cost of its own size.

`precedence` puts the ways to all routes in one order; `table` finds the first
of them that a request may go, by look-ups alone; `explain` reads the same order
from top to bottom and says why each of the others was not taken. `conditions`
holds what is asked below a path, `rewrite` what a route changes in the target.
"""
