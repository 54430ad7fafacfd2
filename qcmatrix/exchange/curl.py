"""An exchange as a ``curl`` command that a reader can run again."""

from __future__ import annotations

import json
import shlex

from qcmatrix.exchange.wire import Exchange

__all__ = ["curl_of"]

_LONGEST = 4_000
"""Characters of a body that go on a command line; a longer one is named by its exchange."""


def curl_of(exchange: Exchange, root: str, *, has_key: bool = False) -> str:
    """The command. The key is a variable of the shell: what it is, is written nowhere."""
    words = ["curl", "-sS"]
    if isinstance(exchange.request, dict) and exchange.request.get("stream"):
        words.append("-N")
    words.append(shlex.quote(f"{root}{exchange.path}"))
    if has_key:
        words.append('-H "Authorization: Bearer $API_KEY"')
    if exchange.request is not None:
        text = isinstance(exchange.request, str)
        body = exchange.request if text else json.dumps(exchange.request, ensure_ascii=False)
        words += ["-H", "'Content-Type: application/json'"]
        if len(body) > _LONGEST:
            words += ["-d", f"@request.json  # `request` of exchange {exchange.digest[:16]}, {len(body)} characters"]
        else:
            words += ["-d", shlex.quote(body)]
    return " ".join(words)
