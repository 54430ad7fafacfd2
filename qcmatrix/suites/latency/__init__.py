"""Latency: one pinned client, workloads LAT-01 to LAT-08, budgets with intervals.

**TTFT** is sent to the first output that carries a token; **E2EL** sent to the last; **ITL** the gaps between outputs;
**TPOT** (E2EL - TTFT) / (output tokens - 1), by the usage; **TTFTC** sent to the first name of a tool call; **ARG-GAP**
the longest silence inside a call. Goodput counts the requests that meet every limit.

Each shape is warmed up first. A percentile is told where ten values lie beyond it (p95: 200, p99: 1000), with its 95 %
bootstrap interval. A budget of the card fails only where the whole interval lies above it, twice running; a card
without a budget is reported. Against earlier runs `qcmatrix results --regressions` holds the newest: regressed where
Mann-Whitney's p is below 0.01 and the median moved by more than 5 % and more than twice what restarts differ by; it
warns once, and fails when it comes two runs running.
"""
