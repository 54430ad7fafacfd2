"""Results made by hand or drawn, for the tests of this directory."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from qcmatrix.results.schema import BootResult, CaseResult, Host, ResultEntry, State, Suite

RUN = "3f2b8c1e-0000-4000-8000-000000000001"
SUITE = Suite(version="0.1.0", catalogue_sha256="a" * 64)
HOST = Host(platform="linux-x86_64")
ENTRY = ResultEntry(id="tiny-cpu", model="tiny", fleet="cpu", vllm="0.32.0", argv=("vllm", "serve", "tiny"), env={})
HEADER: dict[str, Any] = {
    "run": RUN,
    "started": "2026-11-28T10:15:00+00:00",
    "suite": SUITE,
    "host": HOST,
    "entry": ENTRY,
}
BOOT = BootResult(ok=True, seconds=28.5, measured={"kv_cache_tokens": 8192.0})


def case(name: str = "TC-14.crlf", state: State = State.PASS, mode: str = "whole", **more: Any) -> CaseResult:
    fields: dict[str, Any] = {
        "id": name,
        "mode": mode,
        "suite": "tools",
        "profiles": ("tools-core",),
        "core": True,
        "tier": "T1",
        "state": state,
    }
    return CaseResult(**(fields | more))


_text = st.text(max_size=20)

cases = st.lists(
    st.builds(
        CaseResult,
        id=st.sampled_from(["TC-01", "TC-14.crlf", "FIM-03", "LAT-01"]),
        mode=st.sampled_from(["whole", "stream", "once"]),
        suite=st.just("tools"),
        profiles=st.lists(st.sampled_from(["tools-core", "fim-raw", "latency"]), unique=True).map(tuple),
        core=st.booleans(),
        tier=st.just("T1"),
        state=st.sampled_from(State),
        seconds=st.floats(0, 1e6),
        observed=_text,
        reason=_text,
        figures=st.dictionaries(_text, st.floats(allow_nan=False, allow_infinity=False) | _text, max_size=3),
        wilson=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
    ),
    max_size=12,
    unique_by=lambda each: (each.id, each.mode),
)
