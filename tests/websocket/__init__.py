"""A tunnel is nobody's peer: both ends behave as if they were connected directly."""
