"""Rule: a server that listens to everybody and asks for no key."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range

EVERYBODY = ("0.0.0.0", "::", "")  # noqa: S104 - this rule finds them
"""What `--host` is when the server listens on every interface."""


@rule(
    holds=Range("0.10.0"),
    reads=("host", "uds", "headless", "api_key_given", "api_key_in_env"),
    outcome=Outcome.UNSAFE,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/entrypoints/openai/api_server.py",
            'sock_addr = (args.host or "", args.port)',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.18.0/vllm/entrypoints/openai/api_server.py",
            'sock_addr = (args.host or "", args.port)',
            Level.DERIVED,
        ),
    ),
)
def open_bind_without_key(deployment: Deployment) -> Verdict:
    """The server listens on every interface and asks for no key

    What it finds
    `--host 0.0.0.0` (or `::`), or no `--host` at all, which means the same, without `--api-key` and without
    `VLLM_API_KEY`.

    Why it fails
    Whoever reaches the port can use the GPUs and read what the server tells about itself. Without `--host` vLLM binds
    all interfaces in every release: it passes the empty address on.

    What to do
    Listen on `--host 127.0.0.1`, or set `VLLM_API_KEY`, or keep a proxy that asks for a key before the port.

    Not covered
    Firewalls and container networks, which may already keep others out: hence a note only where `--host` is left out.
    """
    if deployment.uds or deployment.headless or deployment.api_key_given or deployment.api_key_in_env:
        return None
    host = deployment.host
    if host is not None and host not in EVERYBODY:
        return None
    where = "without --host vLLM listens on every interface" if host is None else f"--host {host} is every interface"
    return Breach(
        because=f"{where}, and no API key is asked for",
        about=("host",),
        fixes=(Fix("listen on this machine only: `--host 127.0.0.1`", set={"host": "127.0.0.1"}),),
        severity=Severity.INFO if host is None else None,
    )
