"""Latency: one pinned client, workloads LAT-01 to LAT-08, budgets with intervals."""
