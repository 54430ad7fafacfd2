"""Rule: the limit of stop strings against autocompletion clients."""

from __future__ import annotations

from functools import lru_cache

from qcmatrix.deployment import Deployment
from qcmatrix.launch.plain import environment_number
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range

_CONTINUE_SENDS = 12
_VARIABLE = "VLLM_MAX_STOP_STRINGS"
_DEFAULT = 4


@rule(
    holds=Range("0.28.0"),
    reads=("checkpoint", "env"),
    outcome=Outcome.BREAKS_CLIENTS,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/entrypoints/openai/engine/protocol.py",
            "str | Annotated[list[str], Field(max_length=envs.VLLM_MAX_STOP_STRINGS)] | None",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/envs.py",
            '"VLLM_MAX_STOP_STRINGS": lambda: int(os.environ.get("VLLM_MAX_STOP_STRINGS", "4"))',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/continuedev/continue/blob/2ae584e8c8f262039172aa2e2588a26257650a52/core/autocomplete/"
            "templating/getStopTokens.ts",
            "const commonStops = [SRC_DIRECTORY, PYTHON_ENCODING, CODE_BLOCK_END];",
        ),
    ),
)
def completion_clients_send_more_stop_strings(deployment: Deployment) -> Verdict:
    """Autocompletion clients send more stop strings than the server takes

    What it finds
    A Coder checkpoint served by 0.28.0 or later with `VLLM_MAX_STOP_STRINGS` left at 4, or set below 12.

    Why it fails
    From 0.28.0 on a request with more than that many stop strings is answered with HTTP 400. Continue's completion
    template for Qwen Coder sends at least 12, so its autocompletion stops working out of the box.

    What to do
    Set `VLLM_MAX_STOP_STRINGS=16` for the server, or `maxStopWords: 4` in Continue's configuration.

    Not covered
    Clients that send four or fewer (Zed), and chat.
    """
    if "coder" not in deployment.checkpoint.repository.lower():
        return None
    limit = environment_number(deployment.env, _VARIABLE) if _VARIABLE in deployment.env else _DEFAULT
    if limit is None or limit >= _CONTINUE_SENDS:
        return None
    return _breach(limit)


@lru_cache(maxsize=_CONTINUE_SENDS)
def _breach(limit: int) -> Breach:
    """Built once: most launches of a Coder checkpoint break this rule."""
    return Breach(
        because=f"at most {limit} stop strings are taken, and Continue's autocompletion sends {_CONTINUE_SENDS}",
        about=(_VARIABLE,),
        fixes=(Fix("set `VLLM_MAX_STOP_STRINGS=16`", set_env={_VARIABLE: "16"}),),
        severity=Severity.INFO,
    )
