"""Rule: YaRN with another original length than the model's."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import native_positions, positions_of, served_length, trained_positions, yarn_for
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/model_executor/layers/rotary_embedding/"
            "yarn_scaling_rope.py",
            "low, high = yarn_find_correction_range(",
            Level.DERIVED,
        ),
        RuleSource(
            "https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct",
            "Context Length: 262,144 natively.",
        ),
    ),
)
def yarn_original_length_wrong(deployment: Deployment) -> Verdict:
    """YaRN is told another original length than the model's

    What it finds
    `original_max_position_embeddings` that is not the length the model was trained on: most often 32768, copied from
    a guide for Qwen2.5 or the first Qwen3, for a Qwen3-Coder that was trained on 262144.

    Why it fails
    YaRN decides by this number which frequencies it slows down. Too small, it also squeezes positions that the model
    knows natively (and factor x original length is then less than expected: 4 x 32768 = 131072). Too large, it leaves
    frequencies alone that do need slowing down, and the length that vLLM accepts is more than the model can do.

    What to do
    Give the native length: 262144 for Qwen3-Coder and the 2507 releases of Qwen3, 32768 for Qwen2.5-Coder and the
    first Qwen3 (whose `config.json` says 40960, room for an answer included).

    Not covered
    A `config.json` that was edited by hand: its `max_position_embeddings` may already be the scaled one.
    """
    rope = deployment.rope
    if (
        rope is None
        or rope.rope_type != "yarn"
        or rope.form == "config"
        or rope.original_max_position_embeddings is None
    ):
        return None
    architecture, checkpoint = deployment.architecture, deployment.checkpoint
    native = native_positions(architecture, checkpoint)
    trained, given = trained_positions(native), rope.original_max_position_embeddings
    if given in (native, trained):
        return None
    version = deployment.release.version
    positions = positions_of(version, architecture, checkpoint, rope)
    if not positions.scaled:
        return None
    wanted = served_length(deployment.max_model_len, positions) or positions.derived
    options, _ = yarn_for(version, architecture, checkpoint, wanted)
    drop = ("rope_scaling",) if "hf_overrides" in options else ("rope_scaling", "hf_overrides")
    return Breach(
        because=f"original_max_position_embeddings is {given}, and the model was trained on {trained}",
        about=("hf_overrides", "rope_scaling"),
        fixes=(Fix(f"scale from {trained}, as far as {wanted} tokens need it", set=options, drop=drop),),
        severity=Severity.ERROR if given > native else Severity.WARNING,
    )
