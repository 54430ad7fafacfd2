"""Rule: a secret among the words of a command."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.open_bind_without_key import EVERYBODY
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("api_key_given", "host"),
    outcome=Outcome.UNSAFE,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/entrypoints/openai/api_server.py",
            "if token := args.api_key or envs.VLLM_API_KEY:",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.18.0/vllm/entrypoints/openai/api_server.py",
            "if tokens := [key for key in (args.api_key or [envs.VLLM_API_KEY]) if key]:",
            Level.DERIVED,
        ),
    ),
)
def api_key_on_command_line(deployment: Deployment) -> Verdict:
    """The API key stands on the command line

    What it finds
    `--api-key` with a value, and, where it stands beside it, the `--host` that makes the key all there is between
    the server and everybody.

    Why it fails
    A command line is public on its machine: `ps`, `/proc`, the shell's history, container descriptions and start-up
    logs all show it. With `--host 0.0.0.0` whoever has seen it can use it from anywhere that reaches the port.

    What to do
    Put the key into the environment variable `VLLM_API_KEY`, from a file that only the service can read.

    Not covered
    The key guards the API under `/v1` only; health and metrics stay open. Several keys at once exist on the command
    line alone.
    """
    if not deployment.api_key_given:
        return None
    everywhere = deployment.host in EVERYBODY
    rest = f", and with --host {deployment.host} use it from anywhere that reaches the port" if everywhere else ""
    return Breach(
        because=f"everybody who can list processes on the machine can read the key{rest}",
        about=("api_key",),
        fixes=(
            Fix(
                "take `--api-key` away and set `VLLM_API_KEY` outside of the command",
                drop=("api_key",),
                set_env={"VLLM_API_KEY": "$VLLM_API_KEY"},
            ),
        ),
    )
