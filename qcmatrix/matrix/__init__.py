"""``matrix.toml``: the launches that are to be served for real, and what is expected of each."""
