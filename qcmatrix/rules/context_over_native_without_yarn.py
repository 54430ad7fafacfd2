"""Rule: a context longer than the native one, and no position scaling asked for."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import forced_long, length_error, native_positions, positions_of
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.yarn_fix import yarn_fixes
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "unknown", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/config/model.py",
            "User-specified max_model_len (1048576) is greater than the derived max_model_len "
            "(max_position_embeddings=262144.0 or model_max_length=None in model's config.json).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "elif max_model_len > derived_max_model_len:",
            Level.DERIVED,
        ),
    ),
)
def context_over_native_without_yarn(deployment: Deployment) -> Verdict:
    """The context asked for is longer than the model's native one

    What it finds
    A `--max-model-len` above `max_position_embeddings` of the checkpoint's `config.json` (262144 for Qwen3-Coder),
    and neither YaRN nor another position scaling asked for.

    Why it fails
    vLLM derives the longest context from the configuration and stops: "User-specified max_model_len (1048576) is
    greater than the derived max_model_len (max_position_embeddings=262144 ...)". The words that follow differ by
    release: up to 0.10.1 they warn of incorrect outputs, from 0.10.2 on they warn of not-a-number past the derived
    length.

    What to do
    Ask for YaRN in the way of your release (the fix shows it; Qwen has validated Qwen3-Coder to 4 x 262144), or for a
    length up to the native one. Do not do what the message proposes: `VLLM_ALLOW_LONG_MAX_MODEL_LEN=1` only switches
    the check off, see `allow-long-max-model-len-forced`.

    Not covered
    Requests for YaRN that the release ignores or refuses: rules of their own, by form. Whether the KV cache of that
    length fits is the memory ledger's answer.
    """
    asked = deployment.max_model_len
    native = native_positions(deployment.architecture, deployment.checkpoint)
    if asked is None or asked <= native:
        return None
    rope = deployment.rope
    if rope is not None and rope.form != "max-position-embeddings":
        return None
    version = deployment.release.version
    derived = positions_of(version, deployment.architecture, deployment.checkpoint, rope).derived
    if asked <= derived or forced_long(deployment.env):
        return None
    if any(word.replace("_", "-").startswith("--rope-scaling") for word in deployment.unknown):
        return None  # yarn-by-removed-rope-scaling-flag says it better
    fixes = [Fix(f"ask for at most the native length: `--max-model-len {native}`", set={"max_model_len": native})]
    fixes = [*yarn_fixes(deployment, asked, "ask for YaRN with factor {factor} in `--hf-overrides`"), *fixes]
    return Breach(
        because=f"--max-model-len asks for {asked} tokens, the model has {derived} positions, no YaRN is asked for",
        about=("max_model_len",),
        fixes=tuple(fixes),
        error=length_error(version, asked, derived, scaled=False),
    )
