"""What goes wrong for the checks of the boot suite."""

from __future__ import annotations

import atexit
import datetime
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from qcmatrix.matrix.entries import Entry, Expectation
from qcmatrix.suites.bench import CHAT, COMPLETIONS, Subject
from qcmatrix.suites.boot.prediction import predicted
from qcmatrix.suites.declare import Need
from tests.suites.proof import Proof
from tests.suites.proxy import Body, Fault

NO_FAULT = Fault(name="nothing")
"""For a check that looks at what is known of the server only."""

_YARN = '{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}}'
_ROTARY = "INFO [base_loader.py:125]   (rotary_emb): {}(head_size=32, max_position_embeddings={}, base={}, x=True)(\n"
_LIMITS = "INFO [kv_cache_utils.py:9] GPU KV cache size: 99,999 tokens\nINFO [kv_cache_utils.py:9] Maximum {}\n"
_ENGINE = (
    "INFO 01-01 00:00:00 [core.py:1] Initializing a V1 LLM engine (v0.32.0) with config: model='tiny', "
    "dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size={}, kv_cache_dtype=auto, enforce_eager=True\n"
)


def an_entry(command: str, *, vllm: str = "0.32.0", fleet: str = "cpu", **more: Any) -> Entry:
    """An entry with what its schema wants besides."""
    return Entry(
        id="made-up",
        fleet=fleet,
        vllm=vllm,
        command=command,
        expect=Expectation(verdict="starts"),
        source="https://docs.vllm.ai/",
        read=datetime.date(2026, 11, 22),
        **more,
    )


@lru_cache(maxsize=1)
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="qcmatrix-proof-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def known_as(
    command: str | None = None,
    *,
    log: str = "",
    measured: dict[str, float] | None = None,
    boot_seconds: float = 1.0,
    **more: Any,
) -> Callable[[Subject], Subject]:
    """The server becomes ours: started for an entry with that command, with that log and these figures."""

    def known(subject: Subject) -> Subject:
        entry = subject.entry if command is None else an_entry(command, **more)
        path = _folder() / f"{hashlib.sha256(log.encode()).hexdigest()[:16]}.log"
        path.write_text(log, encoding="utf-8")
        server = SimpleNamespace(
            root=subject.root, log=path, boot_seconds=boot_seconds, measured=measured or {}, env={}, argv=()
        )
        has = subject.has | {Need.OWN_SERVER, Need.YARN}
        return msgspec.structs.replace(subject, entry=entry, server=server, has=has)

    return known


def _slow(subject: Subject) -> Subject:
    seen = known_as("vllm serve tiny", boot_seconds=61.0)(subject)
    return msgspec.structs.replace(seen, entry=msgspec.structs.replace(seen.entry, boot_seconds=60.0))


def with_key(subject: Subject) -> Subject:
    """The server counts as one that was given a key."""
    return msgspec.structs.replace(subject, has_key=True)


def flat_errors(_: str, __: Body, reply: Any) -> Any:
    """Errors as vLLM up to 0.10.0 gave them."""
    error = reply.get("error") if isinstance(reply, dict) else None
    return {"object": "error", **error} if isinstance(error, dict) else reply


def without(*fields: str) -> Callable[[str, Body], Body]:
    """The server never hears of these fields."""
    return lambda _, body: {name: value for name, value in body.items() if name not in fields}


def _unasked_logprobs(path: str, body: Body) -> Body:
    return {**body, "logprobs": True, "top_logprobs": 1} if path == CHAT else {**body, "logprobs": 1}


def _one_choice(_: str, body: Body) -> Body:
    return {**body, "n": 1}


def _four_stops(_: str, body: Body) -> Body:
    return {**body, "stop": body["stop"][:4]}


def _other_stop(_: str, body: Body) -> Body:
    return {**body, "stop": ["gamma"]}


def _more_usage(reply: Any) -> Any:
    if isinstance(reply, dict) and isinstance(reply.get("usage"), dict):
        reply["usage"]["prompt_tokens"] += 1
    return reply


def _usage_events(_: str, __: Body, payloads: Any) -> Any:
    for payload in payloads:
        yield payload if payload == "[DONE]" else json.dumps(_more_usage(json.loads(payload)))


def _no_length(_: str, __: Body, reply: Any) -> Any:
    return {**reply, "data": [{**each, "max_model_len": None} for each in reply["data"]]}


def _says(status: int, text: str) -> Callable[[str, Body], tuple[int, str]]:
    return lambda _, __: (status, text)


_NO_ROUTE = Fault(
    name="no development routes",
    answer=_says(404, '{"detail": "Not Found"}'),
    paths=("/server_info", "/collective_rpc"),
)
_CARD = "vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 131072"
_ON_CARD: dict[str, Any] = {"fleet": "1xH200", "vllm": "0.32.0"}
_FORETOLD = {name: each[1] for name, each in predicted(an_entry(_CARD, **_ON_CARD)).items()}

PROOFS: tuple[Proof, ...] = (
    Proof(
        checks=("API-01.version",),
        fault=Fault(name="a version that is none", whole=lambda *_: {"version": "unknown"}, paths=("/version",)),
    ),
    Proof(
        checks=("API-01.version",),
        fault=NO_FAULT,
        known=known_as("vllm serve tiny", vllm="0.10.2"),
    ),
    Proof(checks=("API-01.models",), fault=Fault(name="no length told", whole=_no_length, paths=("/v1/models",))),
    Proof(checks=("API-01.models",), fault=NO_FAULT, known=known_as("vllm serve tiny --served-model-name other")),
    Proof(checks=("API-01.health",), fault=Fault(name="unwell", answer=_says(503, ""), paths=("/health",))),
    Proof(checks=("API-01.health",), fault=Fault(name="no ping", answer=_says(404, ""), paths=("/ping",))),
    Proof(
        checks=("API-01.metrics",),
        fault=Fault(name="no figures", answer=_says(200, "# HELP nothing\n"), paths=("/metrics",)),
    ),
    Proof(
        checks=("API-02.budget",),
        fault=NO_FAULT,
        known=_slow,
    ),
    Proof(
        checks=("API-02.log",),
        fault=NO_FAULT,
        known=known_as(log=_LIMITS.format("concurrency for 4,096 tokens per request: 24.41x")),
    ),
    Proof(
        checks=("API-02.memory",),
        fault=NO_FAULT,
        known=known_as(_CARD, measured={**_FORETOLD, "model_load_gib": 56.9}, **_ON_CARD),
    ),
    Proof(
        checks=("API-02.memory",),
        fault=NO_FAULT,
        known=known_as(_CARD, measured=_FORETOLD, **_ON_CARD),
        helps=True,
    ),
    Proof(
        checks=("API-03.flags",),
        fault=NO_FAULT,
        known=known_as('vllm serve tiny --rope-scaling \'{"rope_type": "yarn"}\''),
    ),
    Proof(
        checks=("API-03.config",),
        fault=_NO_ROUTE,
        known=known_as("vllm serve tiny --tensor-parallel-size 2", log=_ENGINE.format(1)),
    ),
    Proof(
        checks=("API-03.config",),
        fault=_NO_ROUTE,
        known=known_as("vllm serve tiny --tensor-parallel-size 2", log=_ENGINE.format(2)),
        helps=True,
    ),
    *(
        Proof(
            checks=("API-03.yarn",),
            fault=_NO_ROUTE,
            known=known_as(f"vllm serve tiny --hf-overrides '{_YARN}'", log=_ROTARY.format(*told)),
            helps=good,
        )
        for told, good in (
            (("RotaryEmbedding", 32768, "10000000.0"), False),
            (("YaRNScalingRotaryEmbedding", 8192, "None"), False),
            (("YaRNScalingRotaryEmbedding", 32768, "10000000.0"), False),
            (("YaRNScalingRotaryEmbedding", 8192, "10000000.0"), True),
        )
    ),
    Proof(checks=("API-04.*",), fault=Fault(name="errors without `error`", whole=flat_errors)),
    Proof(checks=("API-04.*",), fault=Fault(name="errors with status 500", answer=_says(500, '{"error": {}}'))),
    Proof(checks=("API-05.*",), fault=Fault(name="one choice", request=_one_choice)),
    Proof(checks=("API-06.off.*",), fault=Fault(name="logprobs unasked", request=_unasked_logprobs)),
    Proof(
        checks=("API-06.chat", "API-06.completions"),
        fault=Fault(name="logprobs ignored", request=without("logprobs", "top_logprobs")),
    ),
    Proof(
        checks=("API-07.one", "API-07.four*", "API-07.first", "API-07.inside*", "API-07.kept"),
        fault=Fault(name="stop ignored", request=without("stop")),
    ),
    Proof(checks=("API-07.absent",), fault=Fault(name="another stop", request=_other_stop)),
    Proof(checks=("API-07.five",), fault=Fault(name="the fifth stop ignored", request=_four_stops)),
    Proof(
        checks=("API-08.none", "API-08.wrong"),
        fault=Fault(name="everybody is served", answer=_says(200, "{}"), paths=("/v1/models", CHAT, COMPLETIONS)),
        known=with_key,
    ),
    Proof(
        checks=("API-08.probe",),
        fault=Fault(name="a guarded probe", answer=_says(401, "{}"), paths=("/health",)),
        known=with_key,
    ),
    Proof(
        checks=("API-09.*",),
        fault=Fault(
            name="a prompt token too many", whole=lambda _, __, reply: _more_usage(reply), events=_usage_events
        ),
    ),
)
