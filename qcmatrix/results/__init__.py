"""What runs found: one JSON per entry and run, written so that nothing is lost, read by the report."""
