"""What is sent to a collector by OTLP: spans, and records as logs."""
