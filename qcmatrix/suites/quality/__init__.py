"""Accuracy on public code benchmarks, where their data is at hand."""
