"""A client's configuration against the server that it talks to.

Where the server is not known, only what is wrong with any server is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from qcmatrix.clients.client import Client, ClientKind, Said
from qcmatrix.lint.judge import FileFinding, Judged
from qcmatrix.rules.declare import Severity
from qcmatrix.versions import Range

__all__ = ["judge_client", "server_of"]

_LOCAL = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1", "host.docker.internal"})  # noqa: S104 names, not a bind
_STOP_LIMIT = Range("0.28.0")
"""From here on vLLM takes at most ``VLLM_MAX_STOP_STRINGS`` (4) stop strings, vllm/envs.py of v0.28.0."""
_STOP_STRINGS = 4
_CONTINUE_STOPS = 12
"""Of Continue's Qwen template with what it always appends: core/autocomplete/templating, 2026-06-18."""
_CONTINUE_COMMON_STOPS = (3, 5)
"""What it always appends, and all that goes with a template of the user's: as of 2026-06-18, and in the older state
that appends two empty lines as well (core/autocomplete/templating/getStopTokens.ts, commit 2ae584e8)."""
_PLACEHOLDER_KEYS = re.compile(
    r"\$\{\{.*\}\}|\$\{?\w+\}?|<[^>]*>|sk-x+|x{3,}|EMPTY|none|dummy|your[-_].*", re.IGNORECASE
)
_ZED_QWEN = ("qwen2.5-coder", "qwen-coder", "qwen")
"""Before a colon, in these letters: ``infer_prompt_format``, https://github.com/zed-industries/zed (2026-11-28)."""
_MARKERS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def server_of(client: Client, servers: Iterable[Judged]) -> Judged | None:
    """The server that ``client`` means: by port on this machine, else by the name it asks for, else the only one."""
    known = [each for each in servers if each.subject.parsed.launch.model or each.subject.words]
    if client.base_url is not None:
        port = _port(client.base_url.text)
        by_port = [each for each in known if port is not None and each.subject.parsed.launch.port == port]
        if len(by_port) == 1:
            return by_port[0]
        known = by_port or known
    if client.model is not None:
        by_name = next((each for each in known if client.model.text in _served_names(each)), None)
        if by_name is not None:
            return by_name
    return known[0] if len({id(each.subject.command) for each in known}) == 1 else None


def judge_client(client: Client, server: Judged | None) -> list[FileFinding]:
    """What is wrong with it, worst first."""
    found = [*_url(client, server), *_completion(client), *_key(client, server)]
    if server is not None:
        found += [*_names(client, server), *_lengths(client, server), *_tools(client, server), *_stops(client, server)]
    order = list(Severity)
    return sorted(found, key=lambda finding: (order.index(finding.severity), finding.start))


def _finding(rule: str, severity: Severity, title: str, because: str, said: Said) -> FileFinding:
    return FileFinding(rule, severity, title, because, said.start, said.stop)


def _url(client: Client, server: Judged | None) -> Iterator[FileFinding]:
    said = client.base_url
    if said is None or "$" in said.text or "<" in said.text:
        return
    try:
        url = urlsplit(said.text)
        port = url.port
    except ValueError:
        yield _finding("client-url-malformed", Severity.ERROR, "a base URL that is none", f"{said.text!r}", said)
        return
    tls = server is not None and "ssl_certfile" in server.subject.parsed.launch.options
    local = url.hostname in _LOCAL
    if url.scheme == "https" and ((server is not None and not tls and local) or (server is None and local)):
        because = (
            "the server is started without --ssl-certfile, so it speaks plain HTTP: write http://"
            if server is not None
            else "vLLM speaks plain HTTP unless it is started with --ssl-certfile: write http://"
        )
        yield _finding(
            "client-https-against-http", Severity.ERROR, "HTTPS is spoken to a plain HTTP port", because, said
        )
    if url.scheme == "http" and tls:
        because = "the server is started with --ssl-certfile: write https://"
        yield _finding(
            "client-http-against-https", Severity.ERROR, "plain HTTP is spoken to an HTTPS port", because, said
        )
    if server is not None and local and port is not None and port != server.subject.parsed.launch.port:
        because = f"the server listens on port {server.subject.parsed.launch.port}, the client asks port {port}"
        yield _finding("client-port-differs", Severity.ERROR, "the client asks another port", because, said)
    if client.kind is not ClientKind.LLAMA_VSCODE and not _is_prediction(client) and not _has_version(url.path):
        because = f"vLLM answers below /v1, and {client.kind.value} appends to the URL as it stands: end it in /v1"
        yield _finding("client-url-without-version", Severity.ERROR, "a base URL without /v1", because, said)


def _is_prediction(client: Client) -> bool:
    return client.kind is ClientKind.ZED and client.completes  # the whole URL of /v1/completions stands there


def _has_version(path: str) -> bool:
    return re.search(r"/v1(?:/|$)", path) is not None


def _completion(client: Client) -> Iterator[FileFinding]:
    if not client.completes:
        return
    template = client.template
    if client.kind is ClientKind.LLAMA_VSCODE and client.provider == "llama.cpp":
        because = "it asks /infill of llama.cpp, which vLLM does not serve: set llama-vscode.use_openai_endpoint"
        yield _finding(
            "client-needs-infill", Severity.ERROR, "a client of llama.cpp's own endpoint", because, client.place
        )
    if template is not None:
        yield from _template(client, template)
    elif client.kind is ClientKind.CONTINUE and client.model is not None and _is_literal(client.model.text):
        name = client.model.text.lower()
        if not ("qwen" in name and "coder" in name):
            because = (
                f"Continue chooses the template by the model's name, and {client.model.text!r} holds not both `qwen` "
                "and `coder`: it sends the markers of another model; name it so, or give promptTemplates.autocomplete"
            )
            yield _finding(
                "client-template-by-name",
                Severity.ERROR,
                "a model name that gets another FIM template",
                because,
                client.model,
            )
    elif client.kind is ClientKind.ZED and client.model is not None and _is_literal(client.model.text):
        said = client.prompt_format
        if said is not None and said.text not in ("infer", "qwen"):
            because = f'{said.text!r} sends another model\'s FIM markers: write "prompt_format": "qwen"'
            yield _finding("client-template-by-name", Severity.ERROR, "the FIM format of another model", because, said)
        elif (said is None or said.text == "infer") and client.model.text.partition(":")[0] not in _ZED_QWEN:
            because = (
                f"Zed infers the format of few names, as they stand ({', '.join(_ZED_QWEN)}), and not of "
                f"{client.model.text!r}: it asks nothing, or with another model's markers; "
                'write "prompt_format": "qwen"'
            )
            yield _finding(
                "client-template-by-name",
                Severity.ERROR,
                "a model name that gets no Qwen FIM template",
                because,
                client.model,
            )


def _template(client: Client, said: Said) -> Iterator[FileFinding]:
    text = said.text.strip()
    if text.startswith("`") or text.endswith("`"):
        because = "the back-ticks around it are sent to the model as text: take them out"
        yield _finding(
            "client-template-with-backticks", Severity.ERROR, "back-ticks in an autocompletion template", because, said
        )
    missing = [marker for marker in _MARKERS if marker not in text]
    if missing:
        because = f"it lacks {', '.join(missing)}: Qwen3-Coder fills in between these"
        yield _finding(
            "client-template-without-markers", Severity.ERROR, "a template without the FIM markers", because, said
        )
        return
    if [marker for marker in _MARKERS if text.index(marker) >= 0] != sorted(_MARKERS, key=text.index):
        because = "the order is prefix, suffix, middle"
        yield _finding("client-template-out-of-order", Severity.ERROR, "FIM markers out of order", because, said)
    turns = text.count("<|im_start|>")
    if turns and client.chat_endpoint:
        because = "it is sent as a chat message, and the server's chat template wraps it once more"
        yield _finding(
            "client-chat-template-doubled", Severity.ERROR, "the chat template is applied twice", because, said
        )
    elif turns and text.count("<|im_end|>") < turns - 1:
        because = f"{turns} turns are opened and {text.count('<|im_end|>')} closed"
        yield _finding("client-chat-template-open", Severity.WARNING, "a turn that is never closed", because, said)
    elif not turns and client.chat_endpoint:
        because = "as a chat message the bare markers are answered with prose and fences: use the completions endpoint"
        yield _finding("client-fim-as-chat", Severity.WARNING, "FIM markers in a chat message", because, said)


def _key(client: Client, server: Judged | None) -> Iterator[FileFinding]:
    said = client.api_key
    if said is not None and _PLACEHOLDER_KEYS.fullmatch(said.text) is None and said.text:
        because = "whoever reads the file has the key: take it from the environment or the client's own secrets"
        yield _finding("client-key-in-file", Severity.WARNING, "an API key in a file", because, said)
    asked = server is not None and (
        "api_key" in server.subject.parsed.launch.options or "VLLM_API_KEY" in server.subject.command.env
    )
    if asked and client.kind is ClientKind.CONTINUE and (said is None or not said.text):
        because = "the server asks for an API key: it will answer 401"
        yield _finding("client-without-key", Severity.ERROR, "the client sends no key", because, client.place)


def _names(client: Client, server: Judged) -> Iterator[FileFinding]:
    names = _served_names(server)
    if client.model is None or not names or not _is_literal(client.model.text) or client.model.text in names:
        return
    if client.model.text == "AUTODETECT":
        return
    because = f"the server answers to {' and '.join(sorted(names))}: it will answer 404"
    yield _finding(
        "client-model-name-differs", Severity.ERROR, "the client asks for another model", because, client.model
    )


def _lengths(client: Client, server: Judged) -> Iterator[FileFinding]:
    if server.assessment is None:
        return
    context = server.assessment.deployment.context
    asked = client.context_length.number if client.context_length is not None else None
    if client.context_length is not None and asked is not None and asked > context:
        because = f"the client fills {asked:,} tokens, the server takes {context:,}: long requests get HTTP 400"
        yield _finding(
            "client-context-over-server",
            Severity.ERROR,
            "the client's context is longer than the server's",
            because,
            client.context_length,
        )
    most = client.max_tokens.number if client.max_tokens is not None else None
    if client.max_tokens is not None and most is not None and most >= context:
        because = f"{most:,} tokens of answer leave no room for a prompt in {context:,}"
        yield _finding(
            "client-max-tokens-over-server",
            Severity.ERROR,
            "an answer as long as the context",
            because,
            client.max_tokens,
        )


def _tools(client: Client, server: Judged) -> Iterator[FileFinding]:
    if client.calls_tools is None:
        return
    options = server.subject.parsed.launch.options
    if (
        not (options.get("enable_auto_tool_choice") and options.get("tool_call_parser"))
        and not server.subject.command.open_ended
    ):
        because = "the server is started without --enable-auto-tool-choice and --tool-call-parser: HTTP 400"
        yield _finding(
            "client-tools-not-served",
            Severity.ERROR,
            "the client sends tools that the server does not take",
            because,
            client.calls_tools,
        )


def _stops(client: Client, server: Judged) -> Iterator[FileFinding]:
    release = server.subject.release
    if release.version not in _STOP_LIMIT:
        return
    allowed = server.subject.command.env.get("VLLM_MAX_STOP_STRINGS")
    limit = int(allowed.text) if allowed is not None and allowed.text.isdigit() else _STOP_STRINGS
    own = client.stop_words or 0  # Continue appends its own to those of the configuration (core/util/merge.ts)
    now, once = (own, own)
    if client.kind is ClientKind.CONTINUE and client.completes:
        appended = (_CONTINUE_STOPS,) * 2 if client.template is None else _CONTINUE_COMMON_STOPS
        now, once = (own + many for many in appended)
    if client.max_stop_words is not None and (capped := client.max_stop_words.number) is not None:
        now, once = min(now, capped), min(once, capped)
    if once <= limit:
        return
    sent = f"{now} stop strings are sent" if now > limit else f"{once} stop strings are sent by older Continues"
    yield _finding(
        "client-stop-words-over-limit",
        Severity.ERROR if now > limit else Severity.WARNING,
        "more stop strings than the server takes",
        f"{sent}, vLLM {release} takes {limit}: HTTP 400; set maxStopWords: {limit}, or VLLM_MAX_STOP_STRINGS on the "
        "server",
        client.max_stop_words or client.place,
    )


def _is_literal(text: str) -> bool:
    return bool(text) and not any(mark in text for mark in ("$", "{{", "<"))


def _served_names(server: Judged) -> frozenset[str]:
    return frozenset(name for name in server.subject.parsed.launch.served_names if _is_literal(name))


def _port(url: str) -> int | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return port if parts.hostname in _LOCAL else None
