"""API-03: the server runs with what its command asked for."""

from __future__ import annotations

from typing import Any

from qcmatrix.launch.parsed import ProblemKind
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.boot.asked import entry_of
from qcmatrix.suites.boot.settings import (
    attempt_of,
    by_our_names,
    differences,
    of_development_route,
    of_inspection,
    of_log,
    rotary_in,
    yarn_faults,
)
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, check

__all__: list[str] = []

_ARGUMENTS = "https://docs.vllm.ai/en/v0.33.0/configuration/engine_args/"
_YARN = "https://docs.vllm.ai/en/v0.33.0/features/context_extension/"
_ROUTE = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/entrypoints/serve/dev/server_info/api_router.py"
_INSPECTION = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/model_loader/base_loader.py"
_GONE = (ProblemKind.UNKNOWN_FLAG, ProblemKind.AMBIGUOUS_FLAG, ProblemKind.BAD_CHOICE)


@check("API-03.flags", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_ARGUMENTS,))
def flags(bench: Bench) -> None:
    """Every flag of the command is one of its release.

    The command's words are read with the surface of the entry's release: a flag that is not there, that stands for
    several, or a choice that the release does not have would end the start, or (behind a wrapper that drops them)
    would not be in effect.
    """
    asked = entry_of(bench)
    unknown = [problem.text for problem in asked.parsed.problems if problem.kind in _GONE and not problem.harmless]
    unknown += [word for word in asked.parsed.launch.unknown if word.startswith("-")]
    told = ", ".join(dict.fromkeys(unknown))
    bench.expect(not unknown, f"flags of vLLM {asked.release.name}", told)


@check("API-03.config", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_ROUTE, _ARGUMENTS))
def config(bench: Bench) -> None:
    """The resolved configuration is the one that was asked for.

    Length, dtype, quantization, KV cache type, parallel sizes and scheduler sizes, as far as the command gives them,
    are in effect: by ``/server_info`` where the server was started in development mode (``VLLM_SERVER_DEV_MODE=1``),
    else by the engine's line of configuration in the log. What was left to vLLM is recorded, not judged.
    """
    asked = entry_of(bench)
    found, source = _resolved(bench)
    if not found:
        raise NotApplicable("the server tells its configuration neither by /server_info nor in its log")
    bench.figures["resolved"] = {name: _short(value) for name, value in found.items()}
    bench.figures["resolved_from"] = source
    parted = differences(asked.parsed.launch.options, found)
    bench.expect(not parted, "the configuration that was asked for", "; ".join(parted))


@check(
    "API-03.yarn",
    suite="boot",
    profiles=("long-1m",),
    modes=ONCE,
    needs=(Need.YARN,),
    tokens=0,
    releases=("0.14.0", None),
    sources=(_YARN, _INSPECTION),
)
def yarn(bench: Bench) -> None:
    """YaRN is in effect as it was asked for.

    The rotary embedding that the engine really made, by its own print of the model: a YaRN class, over the original
    length and the base that were asked for, neither of them null. The print is in the log with
    ``VLLM_LOG_MODEL_INSPECTION=1``, or comes from ``/collective_rpc`` in development mode; ``/server_info`` tells only
    what was asked. A scaling that is ignored, or that lost its base, answers short prompts well and long ones with
    garbage, all with status 200. Not covered: the factor, which the print does not hold.
    """
    asked = entry_of(bench)
    if asked.rope is None or asked.rope.rope_type != "yarn":
        raise NotApplicable("the command asks for no YaRN")
    made = rotary_in(of_inspection(bench))
    if not made:
        raise NotApplicable("the server does not print its model: start it with VLLM_LOG_MODEL_INSPECTION=1")
    bench.figures["rotary"] = [f"{each.kind}, base {each.base}, positions {each.positions}" for each in made]
    faults = list(dict.fromkeys(fault for each in made for fault in yarn_faults(asked.rope, each)))
    bench.expect(not faults, "YaRN as asked", "; ".join(faults))


def _resolved(bench: Bench) -> tuple[dict[str, Any], str]:
    whole = of_development_route(bench)
    if whole is not None and (found := by_our_names(whole)):
        return found, "/server_info"
    if bench.subject.server is not None:
        attempt = attempt_of(bench.subject.server.log)
        if attempt is not None and (found := of_log(attempt)):
            return found, "log"
    return {}, ""


def _short(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)[:120]
