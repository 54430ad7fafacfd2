"""What clients really send for a completion, as data: the forms of the prompt, the stop strings, the requests.

Everything here is a pure function of a gap's text and the client's own settings. ``model`` is left out of the bodies,
whoever sends one adds it; a field that is not there is one that the client leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from qcmatrix.suites.fim.gap import Gap, RepoFile

__all__ = [
    "CONTINUE_COMMON_STOPS",
    "CONTINUE_QWEN_STOPS",
    "SEED_TEMPLATES",
    "STOP_MARKERS",
    "SYSTEM",
    "ZED_STOPS",
    "Request",
    "chat",
    "continue_autocomplete",
    "llama_vscode",
    "psm",
    "raw",
    "repo_level",
    "wrapped",
    "zed",
]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"

README = "https://github.com/QwenLM/Qwen3-Coder"
REPO_LEVEL = "https://github.com/QwenLM/Qwen3-Coder/blob/main/examples/Qwen2.5-Coder-repolevel-fim.py"
_CONTINUE = "https://github.com/continuedev/continue/blob/main/core/autocomplete/templating"
CONTINUE_TEMPLATES = f"{_CONTINUE}/AutocompleteTemplate.ts"
CONTINUE_STOPS = f"{_CONTINUE}/getStopTokens.ts"
CONTINUE_TEMPLATING = f"{_CONTINUE}/index.ts"
CONTINUE_BODY = "https://github.com/continuedev/continue/blob/main/core/llm/llms/OpenAI.ts"
ZED_FIM = "https://github.com/zed-industries/zed/blob/main/crates/edit_prediction/src/fim.rs"
ZED_BODY = "https://github.com/zed-industries/zed/blob/main/crates/edit_prediction/src/open_ai_compatible.rs"
LLAMA_VSCODE = "https://github.com/ggml-org/llama.vscode/blob/master/src/llama-server.ts"

SYSTEM = "You are a code completion assistant."
"""The system turn of the README's example of filling in."""

STOP_MARKERS = (
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|endoftext|>",
    "<|im_end|>",
)
"""The tokens that end a completion in the README's example; their ids are the tokenizer's to tell."""

ZED_STOPS = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")

CONTINUE_QWEN_STOPS = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|im_start|>",
    "<|im_end|>",
)
"""Of the template that Continue takes by itself for a name with ``qwen`` and ``coder`` in it."""

CONTINUE_COMMON_STOPS = ("/src/", "#- coding: utf-8", "```")
"""Behind those of any template; the only ones where the user gives a template."""

_TURNS = (
    "<|im_start|>system\n"
    f"{SYSTEM}<|im_end|>\n"
    "<|im_start|>user\n"
    "<|fim_prefix|>{{{prefix}}}<|fim_suffix|>{{{suffix}}}<|fim_middle|><|im_end|>\n"
    "<|im_start|>assistant\n"
)
SEED_TEMPLATES: Mapping[str, str] = {
    "clean": _TURNS,
    "back-ticks": f"`{_TURNS}`\n",
    "indented": "`" + _TURNS.rstrip("\n").replace("\n", f"\n{' ' * 8}") + f"\n{' ' * 8}`\n",
}
"""Chat turns written out by hand for Continue: as they should be; with the back-ticks that guides leave around them;
with the indentation of the file besides."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request of one client."""

    path: str
    body: Mapping[str, Any]
    """Without ``model``."""

    @property
    def streams(self) -> bool:
        """Does the client ask for a stream?"""
        return bool(self.body.get("stream"))


def psm(prefix: str, suffix: str) -> str:
    """Prefix, suffix, middle: the order that Qwen's coders were trained on."""
    return f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"


def repo_level(repo: str, files: Sequence[RepoFile], gap: Gap) -> str:
    """The other files of the repository before the one with the hole, by :data:`REPO_LEVEL` and Continue alike."""
    others = "".join(f"\n<|file_sep|>{file.path}\n{file.text}" for file in files)
    return f"<|repo_name|>{repo}{others}\n<|file_sep|>{gap.path}\n{psm(gap.prefix, gap.suffix)}"


def raw(prompt: str, stop_token_ids: Sequence[int] = (), max_tokens: int = 128) -> Request:
    """The request to recommend: nothing is left to the server's defaults.

    ``max_tokens`` would be 16, and sampling that of the model's ``generation_config.json`` (1.05 repetition penalty).
    Stop ids are not limited to four, as stop strings are; ``<|fim_middle|>`` is not among the README's ids.
    """
    body: dict[str, Any] = {
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "top_p": 1,
        "repetition_penalty": 1.0,
        "stop": ["<|fim_middle|>"],
    }
    if stop_token_ids:
        body["stop_token_ids"] = list(stop_token_ids)
    return Request(path=COMPLETIONS, body=body)


def wrapped(template: str, gap: Gap) -> str:
    """``template`` (Handlebars, as Continue's) around a gap; an empty suffix is a line feed to Continue."""
    return template.replace("{{{prefix}}}", gap.prefix).replace("{{{suffix}}}", gap.suffix or "\n")


def chat(gap: Gap, max_tokens: int = 128) -> Request:
    """The README's example: the prompt as a user's message, the server's chat template around it."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": psm(gap.prefix, gap.suffix)}]
    return Request(path=CHAT, body={"messages": messages, "max_tokens": max_tokens, "temperature": 0})


def continue_autocomplete(
    gap: Gap, *, template: str = "", max_stop_words: int | None = None, max_tokens: int = 128
) -> Request:
    """Continue's autocompletion with ``provider: vllm`` or ``openai``: always streamed, on the completions endpoint.

    ``template`` is ``promptTemplates.autocomplete``; empty: the one that Continue has for Qwen's coders, which brings
    nine stop strings. ``max_stop_words`` is ``maxStopWords``: so many are sent, the first ones.
    """
    if template:
        # Continue names the file in a comment before the prefix of a template that is a text
        prefix = f"\n{_COMMENT.get(gap.language, '//')} {gap.path}\n{gap.prefix}"
        prompt = wrapped(template, msgspec.structs.replace(gap, prefix=prefix))
    elif gap.files:
        prompt = repo_level("repository", gap.files, gap)
    else:
        prompt = psm(gap.prefix, gap.suffix or "\n")
    stop = [*(() if template else CONTINUE_QWEN_STOPS), *CONTINUE_COMMON_STOPS]
    body = {
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0.01,
        "stop": stop[:max_stop_words],
        "stream": True,
    }
    return Request(path=COMPLETIONS, body=body)


_COMMENT = {"python": "#", "bash": "#"}


def zed(gap: Gap, max_tokens: int = 64) -> Request:
    """Zed's edit prediction, ``"prompt_format": "qwen"``: whole replies, the temperature left to the server."""
    body = {"prompt": psm(gap.prefix, gap.suffix), "max_tokens": max_tokens, "stop": list(ZED_STOPS)}
    return Request(path=COMPLETIONS, body=body)


def llama_vscode(gap: Gap, max_tokens: int = 128) -> Request:
    """llama.vscode with ``use_openai_endpoint``: no stop strings at all; ``max_tokens`` is its ``n_predict``."""
    body = {
        "prompt": psm(gap.prefix, gap.suffix),
        "max_tokens": max_tokens,
        "temperature": 0.1,
        "top_p": 0.99,
        "stream": False,
    }
    return Request(path=COMPLETIONS, body=body)
