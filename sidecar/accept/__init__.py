"""Where connections arrive: listeners, client connections, drain."""
