"""A client's configuration for a server: Continue's ``config.yaml``, as our own judge finds nothing wrong with it.

Format: https://docs.continue.dev/reference; what Continue makes of it: ``core/autocomplete`` of
https://github.com/continuedev/continue, 2026-06-18.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from qcmatrix.errors import RequestError

__all__ = ["FimForm", "continue_config"]

_STOP_STRINGS = 4
"""vLLM takes no more from 0.28.0 on, and Continue's first four are the ones that matter most."""
_RAW = "<|fim_prefix|>{{{prefix}}}<|fim_suffix|>{{{suffix}}}<|fim_middle|>"
_TURNS = (
    "<|im_start|>system\nYou are a code completion assistant.<|im_end|>\n"
    f"<|im_start|>user\n{_RAW}<|im_end|>\n<|im_start|>assistant\n"
)
_STOP_TOKEN_IDS = (151643, 151645, 151659, 151660, 151661, 151662, 151663, 151664)
"""Qwen's end, turn and FIM tokens (https://huggingface.co/Qwen/Qwen3-Coder-30B-A3B-Instruct, tokenizer_config.json):
what the four stop strings, or the three of a template, leave out."""
_COMPLETION_TOKENS = 128
_ANSWER_TOKENS = 4096


class FimForm(StrEnum):
    """How the gap is put to the model."""

    BY_NAME = "by-name"
    """Continue's own template for Qwen's coders; only for names with ``qwen`` and ``coder`` in them."""
    RAW = "raw"
    """The bare markers, as a template of the configuration."""
    TURNS = "turns"
    """Chat turns around them, as the README's example makes them."""


def continue_config(
    *,
    served_name: str,
    base_url: str,
    context: int,
    tools: bool,
    form: FimForm = FimForm.BY_NAME,
    api_key_secret: str = "",
) -> str:
    """The text of a ``config.yaml`` with one model for chat and one for autocompletion.

    ``base_url`` is the server's, with or without ``/v1``; ``context`` its ``max_model_len`` in tokens; ``tools``: it
    was started with ``--enable-auto-tool-choice``. ``api_key_secret`` is the name of a secret of Continue's; keys
    themselves have no place in a file. With :attr:`FimForm.BY_NAME` and a name that gets another template the raw one
    is written out.

    Raises:
        RequestError: no name, no URL, or no room for a prompt in the context.
    """
    url = base_url.rstrip("/")
    if not served_name.strip() or not url.startswith(("http://", "https://")):
        raise RequestError(
            "a client's configuration needs a served name and a base URL",
            f"got the name {served_name!r} and the URL {base_url!r}",
        )
    if context < 2 * _COMPLETION_TOKENS:
        raise RequestError(
            f"a context of {context} tokens leaves no room for a prompt",
            f"an autocompletion alone asks for {_COMPLETION_TOKENS} tokens",
        )
    common: dict[str, Any] = {
        "provider": "vllm",
        "model": served_name,
        "apiBase": url if url.endswith("/v1") else f"{url}/v1",
    }
    if api_key_secret:
        common["apiKey"] = f"${{{{ secrets.{api_key_secret} }}}}"
    chat: dict[str, Any] = {
        "name": f"{served_name} (chat)",
        **common,
        "roles": ["chat", "edit", "apply"],
        "defaultCompletionOptions": {"contextLength": context, "maxTokens": min(_ANSWER_TOKENS, context // 2)},
    }
    if tools:
        chat["capabilities"] = ["tool_use"]
    # two models of one server: a completion's length and stops are no chat's
    completion: dict[str, Any] = {
        "name": f"{served_name} (autocomplete)",
        **common,
        "roles": ["autocomplete"],
        "maxStopWords": _STOP_STRINGS,
        "defaultCompletionOptions": {
            "contextLength": context,
            "maxTokens": _COMPLETION_TOKENS,
            "temperature": 0.01,
        },
        "requestOptions": {
            "extraBodyProperties": {"stop_token_ids": list(_STOP_TOKEN_IDS), "repetition_penalty": 1.0},
        },
    }
    template = _template(form, served_name)
    if template:
        completion["promptTemplates"] = {"autocomplete": template}
    whole = {"name": served_name, "version": "0.0.1", "schema": "v1", "models": [chat, completion]}

    import yaml

    return yaml.dump(whole, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=1000)


def _template(form: FimForm, served_name: str) -> str:
    lower = served_name.lower()
    if form is FimForm.TURNS:
        return _TURNS
    return "" if form is FimForm.BY_NAME and "qwen" in lower and "coder" in lower else _RAW


def _dumper() -> Any:
    """A safe dumper that writes texts of several lines as blocks, as a reader would."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
