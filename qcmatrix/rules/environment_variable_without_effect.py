"""Rule: a ``VLLM_*`` variable that the release does not read."""

from __future__ import annotations

import difflib

from qcmatrix.catalogue.releases import environment_history
from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range, parse_version

_OUT = "leave it out"
INSTEAD = {
    "VLLM_ALL2ALL_BACKEND": "use `--all2all-backend`",
    "VLLM_ATTENTION_BACKEND": "use `--attention-backend`",
    "VLLM_FLASHINFER_MOE_BACKEND": "use `--moe-backend`",
    "VLLM_FLASH_ATTN_VERSION": "use `--attention-config.flash_attn_version`",
    "VLLM_TORCH_PROFILER_DIR": "use `--profiler-config`",
    "VLLM_USE_FLASHINFER_MOE_FP8": "use `--moe-backend`",
    "VLLM_USE_FLASHINFER_MOE_FP4": "use `--moe-backend`",
    "VLLM_USE_TRTLLM_ATTENTION": "use `--attention-config.use_trtllm_attention`",
    "VLLM_USE_V1": "leave it out: the other engine is gone",
}
"""Variables that are gone -> what came in their place."""
_FLAG_OF = {"VLLM_ATTENTION_BACKEND": "attention_backend", "VLLM_ALL2ALL_BACKEND": "all2all_backend"}
_WARNS = Range("0.17.0")
_CLOSE = 0.9
"""Of difflib: below, what is meant would be a guess."""
# Read by platform plugins or by the launcher's own tools, not by vllm/envs.py.
_NOT_OURS = ("VLLM_ASCEND_", "VLLM_HPU_", "VLLM_GAUDI_", "VLLM_SPYRE_", "VLLM_NEURON_", "VLLM_CPU_", "VLLM_BENCH_")


@rule(
    holds=Range("0.10.0"),
    reads=("release", "env", "options"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.17.0/vllm/envs.py",
            "Unknown vLLM environment variable detected",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.14.1/vllm/config/attention.py",
            'self._set_from_env_if_set("backend", "VLLM_ATTENTION_BACKEND")',
            Level.DERIVED,
        ),
    ),
)
def environment_variable_without_effect(deployment: Deployment) -> Verdict:
    """A VLLM_ environment variable that the release does not read

    What it finds
    A variable whose name begins with `VLLM_` and that is not in this release's `vllm/envs.py`: it was taken out (such
    as `VLLM_ATTENTION_BACKEND` in 0.15.0, `VLLM_USE_V1` in 0.11.1), it is not there yet, or no release has it.

    Why it fails
    Nothing reads it, so what it should switch stays at its default. Up to 0.16.0 that happens in silence; from 0.17.0
    on one warning line says "Unknown vLLM environment variable detected", and with `--fail-on-environ-validation`
    vLLM stops.

    What to do
    Use the flag that came in its place, or take the variable away.

    Not covered
    Variables of platform plugins (`VLLM_ASCEND_...`), and those of other packages (`NCCL_...`, `FLASHINFER_...`).
    """
    release = deployment.release
    known = release.file.environment
    version = release.version
    for name in deployment.env:
        if not name.startswith("VLLM_") or name in known or name.startswith(_NOT_OURS):
            continue
        history = environment_history(name)
        severity = Severity.WARNING
        fix = Fix("take the variable away", drop_env=(name,))
        if not history:
            close = difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)
            because = f"no release of vLLM from 0.10.0 on reads {name}"
            if close:
                because += f"; did you mean {close[0]}?"
                fix = Fix(f"write `{close[0]}`", drop_env=(name,), set_env={close[0]: deployment.env[name]})
        elif history[-1].high is not None and version >= parse_version(history[-1].high):
            advice = INSTEAD.get(name, _OUT)
            because = f"vLLM reads {name} no more since {history[-1].high}: {advice}"
            dest = _FLAG_OF.get(name)
            value = {dest: deployment.env[name]} if dest is not None and dest in release.flag_by_dest else {}
            fix = Fix(advice, drop_env=(name,), set=value, safe=advice.startswith(_OUT))
        else:
            because = f"{name} came with vLLM {history[0].low}, and this is {release}"
        refuses = version in _WARNS and deployment.options.get("fail_on_environ_validation") is True
        return Breach(
            because=because,
            about=(name,),
            fixes=(fix,),
            error=f"Unknown vLLM environment variable detected: {name}" if refuses else "",
            outcome=Outcome.REFUSES_TO_START if refuses else None,
            severity=Severity.ERROR if refuses else severity,
        )
    return None
