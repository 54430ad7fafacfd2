"""Rule: an attention backend that the release does not have."""

from __future__ import annotations

import difflib

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.13.0"),
    reads=("release", "attention_backend", "given"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/v1/attention/backends/registry.py",
            "Unknown attention backend: 'XFORMERS'. Valid options are:",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/v1/attention/backends/registry.py",
            "Unknown attention backend: 'XFORMERS'. Valid options are:",
            Level.PROBED,
        ),
    ),
)
def attention_backend_not_in_release(deployment: Deployment) -> Verdict:
    """The attention backend is none of this release

    What it finds
    `--attention-backend` with a name that this release does not register: `XFORMERS`, which older guides still name,
    or the older spelling of a name (`FLASH_ATTN_VLLM_V1`).

    Why it fails
    vLLM looks the name up while it builds its configuration: "Unknown attention backend: 'XFORMERS'."

    What to do
    Leave it out: vLLM takes the best backend of the card.

    Not covered
    Backends that are registered and do not run on this card or with this KV cache type.
    """
    if "attention_backend" not in deployment.given:
        return None
    flag = deployment.release.flag_by_dest.get("attention_backend")
    name = deployment.attention_backend
    if flag is None or not flag.known or name is None or name in flag.known or name == "AUTO":
        return None
    close = difflib.get_close_matches(name, flag.known, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return Breach(
        because=f"vLLM {deployment.release} has no attention backend {name}{meant}",
        about=("attention_backend",),
        fixes=(Fix("drop `--attention-backend`", drop=("attention_backend",)),),
        error=f"Unknown attention backend: '{name}'",
    )
