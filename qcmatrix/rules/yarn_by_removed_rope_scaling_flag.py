"""Rule: ``--rope-scaling`` after it was taken out."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import LARGEST_VALIDATED_FACTOR, native_positions, trained_positions, yarn_factor, yarn_for
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_FLAG = "--rope-scaling"


def _reach(gone: Sequence[str], trained: int) -> int | None:
    """How far the numbers behind the flag reach; ``None``: they are not those of YaRN over the ``trained`` length."""
    _, equals, inline = gone[0].partition("=")
    text = inline if equals else gone[1] if len(gone) > 1 else ""
    try:
        scaling = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(scaling, dict) or scaling.get("rope_type", scaling.get("type")) != "yarn":
        return None
    if not scaling.keys() <= {"rope_type", "type", "factor", "original_max_position_embeddings"}:
        return None
    factor, original = scaling.get("factor"), scaling.get("original_max_position_embeddings", trained)
    if not isinstance(factor, int | float) or not 1 < factor <= LARGEST_VALIDATED_FACTOR or original != trained:
        return None
    reach = round(factor * trained)
    return reach if yarn_factor(reach, trained) == factor else None


@rule(
    holds=Range("0.11.1"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "unknown"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/engine/arg_utils.py",
            "unrecognized arguments: --rope-scaling",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/engine/arg_utils.py",
            "unrecognized arguments: --rope-scaling",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.0/vllm/engine/arg_utils.py",
            'model_group.add_argument("--rope-scaling", **model_kwargs["rope_scaling"])',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/issues/37886",
            'using --hf-overrides \'{"rope_parameters": ... to replace --rope-scaling',
        ),
    ),
)
def yarn_by_removed_rope_scaling_flag(deployment: Deployment) -> Verdict:
    """YaRN is asked for by a flag that is gone

    What it finds
    `--rope-scaling` in a release from 0.11.1 on. Many guides for 1M tokens, and Qwen's own page for a long time, give
    it.

    Why it fails
    The flag was deprecated in favour of `--hf-overrides` and taken out in 0.11.1. The argument parser stops with
    "unrecognized arguments: --rope-scaling ...".

    What to do
    Give the same numbers in `--hf-overrides`: under `rope_scaling` in 0.11.1 and 0.11.2, under `rope_parameters`
    together with `rope_theta` from 0.12.0 on, and with `max_position_embeddings` beside it from 0.30.0 on.

    Not covered
    Keys of the value after the flag other than the factor and the original length. Where these cannot be read, or do
    not reach the length asked for, the fix takes the factor that it needs.
    """
    words = deployment.unknown
    place = next((i for i, word in enumerate(words) if word.replace("_", "-").startswith(_FLAG)), None)
    if place is None:
        return None
    gone = [words[place]]
    if "=" not in gone[0] and len(words) > place + 1 and not words[place + 1].startswith("--"):
        gone.append(words[place + 1])
    native = native_positions(deployment.architecture, deployment.checkpoint)
    asked = deployment.max_model_len
    version = deployment.release.version
    fixes = [Fix("leave the flag out: the context asked for needs no YaRN", drop_words=tuple(gone))]
    if asked is None or asked > native:
        trained = trained_positions(native)
        reach = _reach(gone, trained)
        same = reach is not None and (asked is None or asked <= reach)
        tokens = reach if same and reach is not None else asked or 4 * native
        options, _ = yarn_for(version, deployment.architecture, deployment.checkpoint, tokens)
        if asked is not None:
            options["max_model_len"] = asked
        text = f"ask for YaRN in `--hf-overrides` instead{', with the same numbers' if same else ''}"
        fixes = [Fix(text, set=options, drop_words=tuple(gone), safe=same)]
    return Breach(
        because=f"vLLM {deployment.release} has no --rope-scaling; the flag left with 0.11.1",
        about=(_FLAG,),
        fixes=tuple(fixes),
        error=f"unrecognized arguments: {' '.join(gone)}",
    )
