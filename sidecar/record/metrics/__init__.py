"""What is counted, and how a scrape shows it."""
