"""CPU time of the process that serves HTTP."""

from __future__ import annotations

from qcmatrix.suites.bench import Bench

__all__ = ["api_cpu_seconds"]


def api_cpu_seconds(bench: Bench) -> float | None:
    """User and system time so far of the process that answers, seconds in steps of 10 ms; ``None``: not known.

    By its own word (``process_cpu_seconds_total`` of ``/metrics``), so that it works for a server anywhere; the engine
    runs in another process and is not in it. Several API processes (``--api-server-count``) tell none; then, of a
    server of ours with one, psutil is asked.
    """
    kept = len(bench.exchanges)
    told = bench.metric("process_cpu_seconds_total")
    del bench.exchanges[kept:]
    if told is not None:
        return told
    server = bench.subject.server
    pid = getattr(server, "pid", None)
    if not isinstance(pid, int) or getattr(getattr(server, "command", None), "contained", False):
        return None
    import psutil  # type: ignore[import-untyped]

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
