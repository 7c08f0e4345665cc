"""The fault feed: failures, their groups, and events, kept and told."""
