"""The committed figures name the processor and nothing else of the machine."""

from __future__ import annotations

from typing import Any


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    machine = output_json["machine_info"]
    output_json["machine_info"] = {
        "cpu": machine.get("cpu", {}).get("brand_raw", "unknown"),
        "python": machine["python_version"],
    }
    output_json.pop("commit_info", None)
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)
        benchmark.pop("options", None)
