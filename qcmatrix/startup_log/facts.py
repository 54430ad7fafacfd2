"""What the lines of a start say: patterns of vLLM 0.10 to 0.33, and where every reading stands.

Wordings were compared in the sources of all releases from 0.10.0 to 0.33.0 (https://github.com/vllm-project/vllm, read
2026-11-22): ``v1/worker/gpu_model_runner.py``, ``v1/worker/gpu_worker.py``, ``v1/core/kv_cache_utils.py`` (0.33:
``kv_cache_planning.py``), ``v1/engine/core.py``, ``entrypoints/openai/api_server.py``, ``worker/worker.py`` (0.10).
"""

from __future__ import annotations

import re

import msgspec

from qcmatrix.startup_log.lines import Line

__all__ = ["Reading", "Readings", "facts_in", "stage_in"]

_MOST_READINGS = 512
"""Kept per name: more ranks than this say nothing new."""


class Reading(msgspec.Struct, frozen=True):
    """One value that a line states."""

    value: str
    line: int
    process: str


class _Fact(msgspec.Struct, frozen=True):
    anchor: str
    pattern: re.Pattern[str]


_NUMBER = r"-?\d+(?:\.\d+)?"
_NAME = r"(?![\w ]*\b(?:MoE|[Ll]inear)\b)(?P<attention_backend>[A-Z][\w ]{2,40}?)"
"""Of an attention backend: experts and linear layers have backends too."""
_FACTS = tuple(
    _Fact(anchor, re.compile(pattern))
    for anchor, pattern in (
        ("vLLM API server version", r"vLLM API server version (?P<release>\S+)"),
        ("vLLM server version", r"vLLM server version (?P<release>\S+), serving model (?P<model>\S+)"),
        ("LLM engine (v", r"LLM engine \(v(?P<release>[^)\s]+)\)"),
        ("Launching vLLM (v", r"Launching vLLM \(v(?P<release>[^)\s]+)\)"),
        ("█", r"█\s+version\s+(?P<release>\d\S*)"),
        ("█", r"█\s+model\s+(?P<model>\S+)\s*$"),
        ("vLLM Version", r"vLLM Version\s*:\s*v?(?P<release>\d\S*)"),
        ("vllm/vllm-openai:", r"vllm/vllm-openai(?:-rocm)?:v?(?P<image_release>\d+\.\d+\.\d+\w*)"),
        ("vllm==", r"\bvllm==v?(?P<image_release>\d[\w.+]*)"),
        ("model weights took", rf"Loading model weights took (?P<weights_gib>{_NUMBER}) (?:GiB|GB)"),
        (
            "odel loading took",
            rf"took (?P<weights_gib>{_NUMBER}) (?:GiB|GB)(?: memory)?(?: and (?P<load_seconds>{_NUMBER}) s)?",
        ),
        ("Loading weights took", rf"Loading weights took (?P<read_seconds>{_NUMBER}) s"),
        ("Available KV cache memory", rf"Available KV cache memory: (?P<kv_gib>{_NUMBER}) GiB"),
        ("KV cache size", r"[GC]PU KV cache size: (?P<kv_tokens>[\d,]+) tokens"),  # CPU: so says 0.32.0
        ("GiB for KV cache on node", rf"\((?P<kv_gib>{_NUMBER})/{_NUMBER}\) GiB for KV cache on node"),  # CPU build
        ("GPU blocks:", r"# (?:GPU|cuda) blocks: (?P<gpu_blocks>\d+)"),
        (
            "Maximum concurrency for",
            rf"Maximum concurrency for (?P<concurrency_tokens>[\d,]+) tokens per request: (?P<concurrency>{_NUMBER})x",
        ),
        (
            "Graph capturing finished",
            rf"Graph capturing finished in (?P<graph_seconds>{_NUMBER}) secs(?:, took (?P<graphs_gib>{_NUMBER}) GiB)?",
        ),
        ("Estimated CUDA graph memory", rf"Estimated CUDA graph memory: (?P<graphs_estimated_gib>{_NUMBER}) GiB"),
        (
            "Free memory on device",
            rf"Free memory on device (?:\S+ )?\((?P<free_gib>{_NUMBER})/(?P<total_gib>{_NUMBER}) GiB\) on startup",
        ),
        (
            "Desired GPU memory utilization is",
            rf"Desired GPU memory utilization is \((?P<utilization>{_NUMBER}), (?P<budget_gib>{_NUMBER}) GiB\)",
        ),
        ("for peak activation", rf"(?P<activation_gib>{_NUMBER}) GiB for peak activation"),
        ("for non-torch memory", rf"(?P<non_torch_gib>{_NUMBER}) GiB for non-torch memory"),
        ("non_torch_memory takes", rf"non_torch_memory takes (?P<non_torch_gib>{_NUMBER}) ?GiB"),
        ("activation peak memory takes", rf"activation peak memory takes (?P<activation_gib>{_NUMBER}) ?GiB"),
        (
            "reserved for KV Cache is",
            rf"the rest of the memory reserved for KV Cache is (?P<kv_gib>{_NUMBER}) ?GiB",
        ),
        (
            "can use total_gpu_memory",
            rf"\((?P<total_gib>{_NUMBER})GiB\) x \w+ \((?P<utilization>{_NUMBER})\) = (?P<budget_gib>{_NUMBER})GiB",
        ),
        ("torch peak memory increase", rf"torch peak memory increase: (?P<activation_gib>{_NUMBER})GiB"),
        ("non-torch forward increase", rf"non-torch forward increase memory: (?P<non_torch_gib>{_NUMBER})GiB"),
        ("total_gpu_memory=", rf"total_gpu_memory=(?P<total_gib>{_NUMBER})GiB"),
        ("kv_cache_size=", rf"kv_cache_size=(?P<kv_gib>{_NUMBER})GiB"),
        ("init engine (", rf"init engine \([^)]*\) took (?P<init_seconds>{_NUMBER}) s"),
        ("Using max model len", r"Using max model len (?P<context>\d+)"),
        ("Auto-fit max_model_len", r"Auto-fit max_model_len: reduced from \d+ to (?P<context>\d+)"),
        (
            "max_num_batched_tokens=",
            r"Chunked prefill is enabled with max_num_batched_tokens=(?P<batched_tokens>\d+)",
        ),
        (
            "backend",
            rf"Using {_NAME}(?: attention)? backend(?: out of|\.| on V1| \(|$)",
        ),
        ("device_name=", r"device_name=(?P<device>[^,\]/]+?)(?=,|\.json|\]|$)"),
        ("GPU has compute capability", r"Your (?P<device>.{1,60}?) GPU has compute capability"),
        ("total capacity of", rf"GPU \d+ has a total capacity of (?P<total_gib>{_NUMBER}) GiB"),
        ("NVIDIA ", r"\|\s+\d+\s+(?P<device>NVIDIA [\w /.-]{2,40}?)\s{2,}"),
        ("GPU ", r"^\s*GPU \d+: (?P<device>(?:NVIDIA|AMD) [\w /.-]{2,40}?)(?: \(UUID|\s*$)"),
        ("Resolved architecture", r"Resolved architecture: (?P<architecture>\w+)"),
        (
            "in world size",
            r"rank (?P<rank>\d+) in world size (?P<world_size>\d+) is assigned as DP rank (?P<dp_rank>\d+)",
        ),
        ("Setting attention block size", r"Setting attention block size to (?P<attention_block_size>\d+) tokens"),
    )
)

_STAGES = (
    ("served", ("Application startup complete", "Uvicorn running on", "Avg prompt throughput:", 'HTTP/1.1" 200 OK')),
    (
        "starting the front end",
        ("Starting vLLM API server", "Starting vLLM server", "init engine (", "upported tasks:", "Supported_tasks:"),
    ),
    ("capturing CUDA graphs", ("Capturing CUDA graph", "Graph capturing finished", "Capturing cudagraphs")),
    ("sizing the KV cache", ("Available KV cache memory", "KV cache size:", "Maximum concurrency for", "# GPU blocks")),
    ("compiling", ("torch.compile takes", "Dynamo bytecode transform", "Compiling a graph", "Starting torch.compile")),
    ("profiling memory", ("odel loading took", "model weights took", "Memory profiling takes")),
    (
        "loading the weights",
        ("Loading safetensors", "Starting to load model", "Loading weights took", "Loading pt checkpoint"),
    ),
    ("starting the ranks", ("in world size", "vLLM is using nccl", "Initializing a V1 LLM engine", "LLM engine (v")),
    (
        "reading the configuration",
        ("non-default args", "Resolved architecture", "Using max model len", "API server version"),
    ),
)

Readings = dict[str, list[Reading]]


def facts_in(line: Line, readings: Readings) -> bool:
    """Add what ``line`` states to ``readings``: was there anything?"""
    text = line.text
    found = False
    for fact in _FACTS:
        if fact.anchor not in text:
            continue
        match = fact.pattern.search(text)
        if match is None:
            continue
        found = True
        for name, value in match.groupdict().items():
            if value is not None:
                kept = readings.setdefault(name, [])
                if len(kept) < _MOST_READINGS:
                    kept.append(Reading(value, line.number, line.process))
    return found


def stage_in(text: str) -> str | None:
    """Which stage of a start ``text`` tells of; ``served`` is the last; ``None``: none."""
    return next((stage for stage, words in _STAGES if any(word in text for word in words)), None)
