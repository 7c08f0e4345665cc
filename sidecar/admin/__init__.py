"""The servers beside the data path: health and metrics, and the admin API."""
