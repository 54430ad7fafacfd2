"""The verdict on a rope override that the release never reads: shared by the rules of each such form."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import forced_long, length_error, native_positions, positions_of, served_length, yarn_for
from qcmatrix.rules.declare import Breach, Fix, Outcome, Severity, Verdict

__all__ = ["verdict_on_unread_override"]


def verdict_on_unread_override(deployment: Deployment, *, form: str, key: str, unread: str, instead: str) -> Verdict:
    """What becomes of a launch whose ``--hf-overrides`` hold ``key``, which the release does not read.

    Within the native length it has no effect; beyond, vLLM stops, or serves plain positions where the length check is
    lifted. ``unread`` says how the release treats the key, ``instead`` what to write.
    """
    rope = deployment.rope
    if rope is None or rope.form != form:
        return None
    version, asked = deployment.release.version, deployment.max_model_len
    architecture, checkpoint = deployment.architecture, deployment.checkpoint
    positions = positions_of(version, architecture, checkpoint, rope)
    served = served_length(asked, positions)
    native = native_positions(architecture, checkpoint)
    about = ("hf_overrides",)
    refused = served is not None and served > positions.derived and not forced_long(deployment.env)
    # The override's max_position_embeddings counts, and may be shorter than the native length.
    if served is None or (served <= native and not refused):
        return Breach(
            because=f"the {key} override has no effect, and a context of {native} tokens or less needs none",
            about=about,
            fixes=(Fix("leave the override out", drop=about, safe=True),),
            outcome=Outcome.REDUNDANT,
            severity=Severity.INFO,
        )
    options, _ = yarn_for(version, architecture, checkpoint, served)
    within = "hf_overrides" not in options
    fixes = (Fix("leave the override out" if within else instead, set=options, drop=about if within else ()),)
    if refused:
        return Breach(
            because=f"vLLM {deployment.release} {unread}: {served} tokens are asked for, {positions.derived} accepted",
            about=about,
            fixes=fixes,
            error=length_error(version, served, positions.derived, scaled=False),
        )
    return Breach(
        because=f"vLLM {deployment.release} {unread}: it serves {served} tokens with positions made for {native}",
        about=about,
        fixes=fixes,
        outcome=Outcome.STARTS_AND_IS_WRONG,
    )
