"""Long contexts: honest limits, needles, prefix caching, chunk boundaries, YaRN."""
