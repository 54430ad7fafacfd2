"""API-01: the server is what it says, and what was asked for."""

from __future__ import annotations

import re
from typing import Any

from qcmatrix.errors import UserError
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.boot.asked import asked_by
from qcmatrix.suites.declare import ONCE, check
from qcmatrix.versions import parse_version

__all__: list[str] = []

_SERVER = "https://docs.vllm.ai/en/v0.33.0/serving/openai_compatible_server/"
_METRICS = "https://docs.vllm.ai/en/v0.33.0/usage/metrics/"
_MODELS = "https://platform.openai.com/docs/api-reference/models/list"
_GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:prompt_tokens_total")


@check("API-01.version", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_SERVER,))
def version(bench: Bench) -> None:
    """/version names the release that was asked for.

    GET ``/version`` answers 200 with a version. Where the entry is known it is the entry's release; a local part
    (``+cpu``, ``+cu129``) does not count. All that a result says holds for that release: another one behind the same
    address makes every other verdict meaningless.
    """
    reply = bench.wire.get("/version")
    told = reply.json.get("version") if isinstance(reply.json, dict) else None
    bench.expect(reply.status == 200 and isinstance(told, str), "HTTP 200 with a version", _told(reply))
    bench.figures["version"] = told
    try:
        running = parse_version(str(told).partition("+")[0])
    except UserError:
        running = None
    bench.expect(running is not None, "a version number", told)
    if bench.subject.entry is not None:
        asked = bench.subject.entry.vllm
        bench.expect(running == parse_version(asked.partition("+")[0]), f"vLLM {asked}", f"vLLM {told}")


@check("API-01.models", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_MODELS, _SERVER))
def models(bench: Bench) -> None:
    """/v1/models lists the served names, with the length that was asked for.

    GET ``/v1/models`` answers with a list of models, the one that we ask among them, each with ``max_model_len``. Where
    the entry is known, the names are those of ``--served-model-name`` (or the model as the command names it), all of
    them and no others, and ``max_model_len`` is what ``--max-model-len`` asked for. Clients take their context length
    from there. Not covered: a length that was left to vLLM.
    """
    reply = bench.wire.get("/v1/models")
    body: Any = reply.json
    listed = body.get("data") if isinstance(body, dict) else None
    fine = (
        reply.status == 200
        and isinstance(listed, list)
        and listed
        and body.get("object") == "list"
        and all(isinstance(each, dict) and isinstance(each.get("id"), str) for each in listed)
    )
    bench.expect(fine, "HTTP 200 with a list of models", _told(reply))
    assert isinstance(listed, list)  # noqa: S101 - expected above
    names = [each["id"] for each in listed]
    lengths = {each["id"]: each.get("max_model_len") for each in listed}
    bench.figures["max_model_len"] = lengths.get(bench.subject.model)
    bench.expect(bench.subject.model in names, f"the model {bench.subject.model}", names)
    length = lengths[bench.subject.model]
    bench.expect(isinstance(length, int) and length > 0, "a length of at least one token", length)
    if bench.subject.entry is not None:
        asked = asked_by(bench.subject.entry)
        bench.expect(sorted(names) == sorted(asked.names), f"the names {', '.join(asked.names)}", names)
        if asked.max_model_len is not None:
            bench.expect(length == asked.max_model_len, f"max_model_len {asked.max_model_len}", length)


@check("API-01.health", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_SERVER,))
def health(bench: Bench) -> None:
    """/health and /ping say that the server is well.

    GET ``/health`` and GET ``/ping`` answer 200: load balancers, Kubernetes and SageMaker take a server out that does
    not.
    """
    for path in ("/health", "/ping"):
        reply = bench.wire.get(path)
        bench.expect(reply.status == 200, f"HTTP 200 of {path}", _told(reply))


@check("API-01.metrics", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_METRICS,))
def metrics(bench: Bench) -> None:
    """/metrics has the figures that dashboards and these checks read.

    GET ``/metrics`` answers 200 in Prometheus' text form, with the requests that run and wait and the prompt tokens
    counted, each for the model that is served.
    """
    reply = bench.wire.get("/metrics")
    bench.expect(reply.status == 200, "HTTP 200 of /metrics", _told(reply))
    for name in _GAUGES:
        pattern = rf'^{re.escape(name)}\{{[^}}]*model_name="{re.escape(bench.subject.model)}"[^}}]*\}} -?[\d.e+]+$'
        bench.expect(re.search(pattern, reply.text, re.MULTILINE), f"{name} of {bench.subject.model}", "not there")


def _told(reply: Any) -> str:
    return f"HTTP {reply.status}: {reply.text[:300]}"
