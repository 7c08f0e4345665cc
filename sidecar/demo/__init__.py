"""A service that misbehaves on purpose, traffic for it, and a view of both."""
