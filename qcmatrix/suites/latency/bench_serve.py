"""``vllm bench serve`` as a program: its command, its JSON."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from qcmatrix.suites.bench import COMPLETIONS, Bench, Subject
from qcmatrix.suites.declare import NotApplicable, Wrong
from qcmatrix.suites.latency.scale import Shape

__all__ = ["VARIABLE", "bench_serve", "command_of", "find_vllm"]

VARIABLE = "QCMATRIX_VLLM_BENCH"
_SECONDS = 3600.0
_KEPT = (
    *("date", "duration", "completed", "failed", "total_input_tokens", "total_output_tokens"),
    *("request_throughput", "output_throughput"),
    *(f"{kind}_{metric}_ms" for metric in ("ttft", "tpot", "itl", "e2el") for kind in ("mean", "median", "p99")),
)


def find_vllm(subject: Subject) -> Path | None:
    """The ``vllm`` to run, or ``None``: nobody asked for it, or none is known."""
    asked = os.environ.get(VARIABLE, "")
    if asked in ("", "0"):
        return None
    if asked != "1":
        return Path(asked)
    argv = getattr(subject.server, "argv", None)
    if not argv:
        return None
    beside = Path(argv[0]).with_name("vllm")  # of its interpreter; an image has none here
    return beside if beside.is_absolute() and beside.is_file() else None


def command_of(vllm: Path, subject: Subject, shape: Shape, tokenizer: str, folder: Path) -> list[str]:
    """The words of the command; the key, where there is one, goes in ``OPENAI_API_KEY``."""
    return [
        *(str(vllm), "bench", "serve", "--backend", "vllm", "--endpoint", COMPLETIONS),
        *("--base-url", subject.root, "--model", tokenizer, "--served-model-name", subject.model),
        *("--dataset-name", "random", "--random-input-len", str(shape.tokens_in)),
        *("--random-output-len", str(shape.tokens_out), "--ignore-eos", "--max-concurrency", str(shape.concurrency)),
        *("--num-prompts", str(shape.requests), "--percentile-metrics", "ttft,tpot,itl,e2el"),
        *("--save-result", "--result-dir", str(folder), "--result-filename", "result.json"),
    ]


def bench_serve(vllm: Path, bench: Bench, shape: Shape) -> dict[str, Any]:
    """Run it; the figures of its JSON that are kept.

    Raises:
        NotApplicable: it cannot be run, or the server does not say where its tokenizer lies.
        Wrong: it fails.
    """
    models = bench.wire.get("/v1/models").json
    listed = models.get("data") if isinstance(models, dict) else None
    root = next((each.get("root") for each in listed or () if each.get("id") == bench.subject.model), None)
    if not isinstance(root, str):
        raise NotApplicable("the server does not name the checkpoint, and vllm bench serve wants its tokenizer")
    key = bench.wire.authorization.get("Authorization", "").removeprefix("Bearer ")
    env = {**os.environ, "PYTHONUNBUFFERED": "1", **({"OPENAI_API_KEY": key} if key else {})}
    with tempfile.TemporaryDirectory(prefix="qcmatrix-bench-") as folder:
        words = command_of(vllm, bench.subject, shape, root, Path(folder))
        try:
            done = subprocess.run(  # noqa: S603 - the user's own vllm, asked for by name
                words, env=env, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except OSError as error:
            raise NotApplicable(f"{vllm} cannot be run: {error}") from None
        except subprocess.TimeoutExpired:
            raise Wrong("vllm bench serve ends", f"not within {_SECONDS:g} s") from None
        result = Path(folder, "result.json")
        if done.returncode != 0 or not result.is_file():
            last = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise Wrong("vllm bench serve ends well", f"exit code {done.returncode}: {' | '.join(last)[:600]}")
        told = json.loads(result.read_text(encoding="utf-8"))
    return {name: told[name] for name in _KEPT if name in told}
