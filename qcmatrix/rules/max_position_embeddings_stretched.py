"""Rule: the length alone is overridden."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import native_positions, positions_of, served_length
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.yarn_fix import yarn_fixes
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/model_executor/models/qwen3_moe.py",
            'max_position_embeddings = getattr(config, "max_position_embeddings", 8192)',
            Level.PROBED,
        ),
    ),
)
def max_position_embeddings_stretched(deployment: Deployment) -> Verdict:
    """The length limit is overridden and the positions are not scaled

    What it finds
    `--hf-overrides '{"max_position_embeddings": ...}'` above the native length, alone, and a context past the native
    one.

    Why it fails
    vLLM believes the number: it accepts the length and builds a plain rotary embedding of that size. No YaRN is in
    it. Past the native length the model meets angles that it never saw in training, and its answers fall apart.
    Nothing in the log says so, in any release.

    What to do
    Ask for YaRN in the way of your release; from 0.30.0 on that is this override and `rope_parameters` together.

    Not covered
    A `config.json` that was edited by hand in the same way: its number cannot be told from a native one.
    """
    rope = deployment.rope
    if rope is None or rope.form != "max-position-embeddings":
        return None
    version = deployment.release.version
    architecture, checkpoint = deployment.architecture, deployment.checkpoint
    native = native_positions(architecture, checkpoint)
    positions = positions_of(version, architecture, checkpoint, rope)
    served = served_length(deployment.max_model_len, positions)
    if served is None:
        served = positions.derived
    if served <= native or served > positions.derived:
        return None
    fixes = [
        Fix(
            f"leave the override out and ask for `--max-model-len {native}`",
            set={"max_model_len": native},
            drop=("hf_overrides",),
        )
    ]
    fixes = [*yarn_fixes(deployment, served, "ask for YaRN with factor {factor} as well"), *fixes]
    return Breach(
        because=f"{served} tokens are served with positions trained for {native}: the override is only a limit",
        about=("hf_overrides",),
        fixes=tuple(fixes),
    )
