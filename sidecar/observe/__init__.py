"""What Prometheus and Grafana are to make of the metrics: rules and dashboards.

Pure: from settings and the catalogue to values, from values to text.
"""
