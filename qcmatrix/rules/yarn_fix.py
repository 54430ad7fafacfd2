"""The fix that asks for YaRN as the release wants it: shared by the rules about too long a context."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import LARGEST_VALIDATED_FACTOR, native_positions, trained_positions, yarn_factor, yarn_for
from qcmatrix.rules.declare import Fix

__all__ = ["yarn_fixes"]


def yarn_fixes(
    deployment: Deployment, tokens: int, text: str, *, drop: tuple[str, ...] = (), drop_env: tuple[str, ...] = ()
) -> list[Fix]:
    """One fix that reaches ``tokens`` by YaRN; none where that takes a factor which nobody has shown to work.

    ``text`` holds ``{factor}``.
    """
    architecture, checkpoint = deployment.architecture, deployment.checkpoint
    factor = yarn_factor(tokens, trained_positions(native_positions(architecture, checkpoint)))
    if factor > LARGEST_VALIDATED_FACTOR:
        return []
    options, _ = yarn_for(deployment.release.version, architecture, checkpoint, tokens)
    return [Fix(text.format(factor=f"{factor:g}"), set=options, drop=drop, drop_env=drop_env)]
