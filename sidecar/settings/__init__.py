"""From the YAML that people write to the snapshot that the data path reads."""
