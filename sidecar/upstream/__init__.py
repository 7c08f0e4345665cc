"""Everything behind the proxy: endpoints, their connections, and the pool."""
