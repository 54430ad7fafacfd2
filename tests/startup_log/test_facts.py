"""The wordings of all releases from 0.10 to 0.33, as their sources print them."""

from __future__ import annotations

import io

import pytest

from qcmatrix.startup_log.reader import read_log

# v1/worker/gpu_model_runner.py, gpu_worker.py, v1/core/kv_cache_utils.py and worker/worker.py of the releases named.
FREE = (
    "Free memory on device (78.68/79.19 GiB) on startup. Desired GPU memory utilization is (0.9, 71.27 GiB). "
    "Actual usage is 14.99 GiB for weight, 4.76 GiB for peak activation, 0.13 GiB for non-torch memory, and 0.5 GiB "
    "for CUDAGraph memory."
)
PROFILED = (
    "Memory profiling takes 3.00 seconds. Total non KV cache memory: 20.00GiB; torch peak memory increase: 4.76GiB; "
    "non-torch forward increase memory: 0.13GiB; weights memory: 14.99GiB."
)
EARLY = (
    "model weights take 14.99GiB; non_torch_memory takes 0.13GiB; PyTorch activation peak memory takes 1.23GiB; "
    "the rest of the memory reserved for KV Cache is 54.91GiB."
)
INIT = "init engine (profile, create kv cache, warmup model) took 41.37"
DEVICE = "Config file not found at ['/x/E=20,N=2560,device_name=NVIDIA_H20-3e,dtype=fp8_w8a8.json']"
SMI = "|   0  NVIDIA H100 80GB HBM3          On  |   00000000:19:00.0 Off |"
AUTO = "Auto-fit max_model_len: reduced from 262144 to 100352 to fit in available GPU memory (3.2 GiB)"
RANK = "rank 3 in world size 8 is assigned as DP rank 0, PP rank 0, PCP rank 0, TP rank 3, EP rank 3"
# v1/core/kv_cache_utils.py and v1/worker/cpu_worker.py of 0.32.0, as its CPU build prints them.
CPU_KV = "CPU KV cache size: 2,097,152 tokens, Maximum concurrency for 8,192 tokens per request: 256.00x"
WORDINGS = [
    ("Model loading took 56.2600 GiB and 93.112233 seconds", {"weights_gib": "56.2600", "load_seconds": "93.112233"}),
    ("Model loading took 13.64 GiB memory and 14.749265 seconds", {"weights_gib": "13.64"}),
    ("Loading model weights took 57.7520 GB", {"weights_gib": "57.7520"}),
    ("Available KV cache memory: -1.30 GiB", {"kv_gib": "-1.30"}),
    ("GPU KV cache size: 2,073,680 tokens", {"kv_tokens": "2,073,680"}),
    ("GPU KV cache size: 90,048 tokens, 12 groups", {"kv_tokens": "90,048"}),
    (CPU_KV, {"kv_tokens": "2,097,152", "concurrency": "256.00", "concurrency_tokens": "8,192"}),
    ("Explicitly set (1.0/9.71) GiB for KV cache on node 0.", {"kv_gib": "1.0"}),
    (
        "Auto set (4.52/23.59) GiB for KV cache on node 0, with 9.43 GiB requested memory for the worker.",
        {"kv_gib": "4.52"},
    ),
    ("Maximum concurrency for 262,144 tokens per request: 2.34x", {"concurrency": "2.34"}),
    ("Maximum concurrency for 262,144 tokens per request: 2.34x", {"concurrency_tokens": "262,144"}),
    ("Graph capturing finished in 21 secs, took 0.85 GiB", {"graph_seconds": "21", "graphs_gib": "0.85"}),
    ("Estimated CUDA graph memory: 1.20 GiB total", {"graphs_estimated_gib": "1.20"}),
    (f"{INIT} seconds", {"init_seconds": "41.37"}),
    (f"{INIT} s (compilation: 3.0 s)", {"init_seconds": "41.37"}),
    ("vLLM API server version 0.10.1.1", {"release": "0.10.1.1"}),
    ("Initializing a V1 LLM engine (v0.20.2rc1.dev1+g0a) with config: model='x'", {"release": "0.20.2rc1.dev1+g0a"}),
    (" ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.16.0", {"release": "0.16.0"}),
    ("  █▄█▀ █     █     █     █  model   Qwen/X", {"model": "Qwen/X"}),
    ("vLLM server version 0.30.0, serving model Qwen/X", {"release": "0.30.0", "model": "Qwen/X"}),
    (FREE, {"free_gib": "78.68", "total_gib": "79.19", "utilization": "0.9", "activation_gib": "4.76"}),
    (PROFILED, {"activation_gib": "4.76", "non_torch_gib": "0.13"}),
    (EARLY, {"non_torch_gib": "0.13", "activation_gib": "1.23", "kv_gib": "54.91"}),
    ("Chunked prefill is enabled with max_num_batched_tokens=8192.", {"batched_tokens": "8192"}),
    (RANK, {"rank": "3", "world_size": "8"}),
    (DEVICE, {"device": "NVIDIA_H20-3e"}),
    (SMI, {"device": "NVIDIA H100 80GB HBM3"}),
    (AUTO, {"context": "100352"}),
]


@pytest.mark.parametrize(("text", "values"), WORDINGS)
@pytest.mark.parametrize("head", ["", "(Worker_TP0 pid=100) INFO 11-02 10:02:41 [gpu_worker.py:298] "])
def test_wordings(head: str, text: str, values: dict[str, str]) -> None:
    readings = read_log(io.BytesIO((head + text + "\n").encode())).attempt.readings
    assert values.items() <= {name: found[0].value for name, found in readings.items()}.items()


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN'].", "FLASH_ATTN"),
        ("Using Flash Attention backend on V1 engine.", "Flash Attention"),
        ("Using CPU Unquantized MoE backend out of potential backends: ['CPU'].", None),
        ("Using TRITON Fp8 MoE backend out of potential backends: ['TRITON'].", None),
        ("Using X86CPUUnquantizedExperts MoE backend", None),
    ],
)
def test_the_backend_of_the_experts_is_not_that_of_attention(text: str, backend: str | None) -> None:
    readings = read_log(io.BytesIO(f"INFO {text}\n".encode())).attempt.readings
    told = readings.get("attention_backend")
    assert (told[0].value if told else None) == backend
