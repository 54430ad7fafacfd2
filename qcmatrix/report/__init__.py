"""Pages derived from rules, data and results; ``--check`` fails when a committed page is stale."""
