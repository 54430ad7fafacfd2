"""Servers: where an entry may run, how it is started, watched and always ended."""
