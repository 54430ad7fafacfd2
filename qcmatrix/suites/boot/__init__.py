"""Does the server do what it was started for: identity, limits, the configuration as asked, memory as predicted."""
