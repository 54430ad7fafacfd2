"""What a client makes of the name that the model is served by; no completion is asked for."""

from __future__ import annotations

from qcmatrix.clients.client import Client, ClientKind, Said
from qcmatrix.clients.judge import judge_client
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Mode, Wrong, check
from qcmatrix.suites.fim.payloads import CONTINUE_TEMPLATES, ZED_FIM

_BY_NAME = "client-template-by-name"


@check(
    "FIM-18",
    suite="fim",
    profiles=("fim-continue",),
    modes=(Mode.ONCE,),
    sources=(CONTINUE_TEMPLATES, ZED_FIM),
)
def served_name(bench: Bench) -> None:
    """Clients take the right template for the name that the model is served by.

    Asked: the names that ``/v1/models`` tells. Must hold for one of them at least: it has both ``qwen`` and ``coder``
    in it, or Continue sends another model's markers (``<fim_prefix>``) where its configuration has no template.

    Figures: ``zed_prompt_format`` says whether Zed needs ``"prompt_format": "qwen"`` for the name;
    ``continue_strips_newlines`` whether Continue takes leading line feeds away, which it does for ``qwen3``.
    """
    reply = bench.wire.get("/v1/models")
    listed = reply.json.get("data") if isinstance(reply.json, dict) else None
    names = [each["id"] for each in listed or () if isinstance(each, dict) and isinstance(each.get("id"), str)]
    if reply.status != 200 or not names:
        raise Wrong("/v1/models lists the served names", f"HTTP {reply.status}: {reply.text[:300]}")
    name = next((each for each in names if not _mistaken(ClientKind.CONTINUE, each)), names[0])
    bench.figures["served_name"] = name
    bench.figures["zed_prompt_format"] = "needed" if _mistaken(ClientKind.ZED, name) else "inferred"
    bench.figures["continue_strips_newlines"] = "qwen3" in name
    said = _mistaken(ClientKind.CONTINUE, name)
    bench.expect(not said, "a served name with `qwen` and `coder` in it", f"{', '.join(names)}: {said}")


def _mistaken(kind: ClientKind, name: str) -> str:
    client = Client(kind=kind, place=Said(name, 0, len(name)), model=Said(name, 0, len(name)), completes=True)
    return next((found.because for found in judge_client(client, None) if found.rule == _BY_NAME), "")
