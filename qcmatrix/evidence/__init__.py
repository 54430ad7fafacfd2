"""Append-only records of what real releases did."""
