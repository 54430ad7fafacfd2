"""Rule: a key of a JSON option that its class does not have."""

from __future__ import annotations

import difflib
from typing import Any

from qcmatrix.deployment import Deployment
from qcmatrix.rules.configuration_keys import CLASSES, known_keys
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_INSTEAD = {
    "level": "mode",
    "full_cuda_graph": "cudagraph_mode",
    "use_cudagraph": "cudagraph_mode",
    "max_capture_size": "max_cudagraph_capture_size",
    "compile_ranges_split_points": "compile_ranges_endpoints",
    "enable_noop": "eliminate_noops",
    "enable_async_tp": "fuse_gemm_comms",
    "enable_sequence_parallelism": "enable_sp",
}


@rule(
    holds=Range("0.13.0"),
    reads=("release", "options"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/compilation.py",
            "1 validation error for CompilationConfig use_inductor Unexpected keyword argument",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.18.1/vllm/config/compilation.py",
            "1 validation error for CompilationConfig level Unexpected keyword argument",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.13.0/vllm/config/compilation.py",
            '@dataclass(config=ConfigDict(extra="forbid"))',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.16.0/vllm/config/utils.py",
            'merged_config = ConfigDict(extra="forbid")',
            Level.DERIVED,
        ),
    ),
)
def configuration_key_not_in_release(deployment: Deployment) -> Verdict:
    """A JSON option has a key that this release does not know

    What it finds
    A key of `--compilation-config` (and of its `pass_config`), `--eplb-config`, `--attention-config`,
    `--speculative-config` or `--structured-outputs-config` that the class of that name does not have: a slip, or one
    that left vLLM. The best known are `level` (`mode` from 0.12.0 on, gone with 0.18.0) and `use_inductor`.

    Why it fails
    The option is turned into a configuration class, which refuses what it does not know: "Unexpected keyword
    argument". Compilation settings do so from 0.13.0 on, the others from 0.16.0; older releases drop the key in
    silence.

    What to do
    The finding names the closest key of the release; else leave the key out.

    Not covered
    Values of a wrong type. The keys of other JSON options.
    """
    for option in CLASSES:
        dest, _, inner = option.partition(".")
        value = deployment.options.get(dest)
        if inner and isinstance(value, dict):
            value = value.get(inner)
        known = known_keys(option, deployment.release.version)
        if known is None or not isinstance(value, dict):
            continue
        for key in value:
            if key not in known:
                return _breach(deployment, option, key, known)
    return None


def _breach(deployment: Deployment, option: str, key: str, known: frozenset[str]) -> Breach:
    dest, _, inner = option.partition(".")
    close = difflib.get_close_matches(key, sorted(known), n=1)
    meant = _INSTEAD.get(key, close[0] if close else "")
    if meant not in known:
        meant = ""
    where = f"--{dest.replace('_', '-')}"
    return Breach(
        because=f"{CLASSES[option].name} of vLLM {deployment.release} has no key {key}"
        + (f"; did you mean {meant}?" if meant else ""),
        about=(dest,),
        fixes=(_without(deployment.options[dest], dest, inner, key, where),),
        error=f"for {CLASSES[dest].name} {inner}{'.' if inner else ''}{key} Unexpected keyword argument",
    )


def _without(value: dict[str, Any], dest: str, inner: str, key: str, where: str) -> Fix:
    """The option without the key, or no option where nothing is left."""
    if inner:
        kept = {**value, inner: {name: each for name, each in value[inner].items() if name != key}}
    else:
        kept = {name: each for name, each in value.items() if name != key}
    if not kept:
        return Fix(f"drop `{where}`", drop=(dest,))
    return Fix(f"take `{key}` out of `{where}`", set={dest: kept})
