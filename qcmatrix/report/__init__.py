"""Pages derived from rules, data and results; without ``--write`` it fails when a committed page is stale."""
