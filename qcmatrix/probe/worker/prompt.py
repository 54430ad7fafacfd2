"""``prompt``: the text that a chat template makes of a conversation, by the release's own code from the request on.

Question: ``{"template": Jinja text, "messages": [...], "tools": [...] or null, "arguments": {...} for the template}``.
Answer: ``{"prompt": text}`` or ``{"error": {"type", "text"}, "stage": "request" | "messages" | "template"}``: the
request was refused as a chat request, while its messages were read (the arguments of earlier calls become objects),
or by the template.
"""

from __future__ import annotations

import functools
import inspect
from types import SimpleNamespace
from typing import Any

from qcmatrix_worker import NotAskable
from qcmatrix_worker import tokenizer as tokenizers

_MODEL = "qwen3-coder"


def _accepted(function: Any, **arguments: Any) -> dict[str, Any]:
    taken = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in taken}


@functools.lru_cache(maxsize=1)
def _request_class() -> Any:
    try:
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    except ImportError:  # before 0.15
        from vllm.entrypoints.openai.protocol import ChatCompletionRequest
    return ChatCompletionRequest


@functools.lru_cache(maxsize=1)
def _parse_messages() -> Any:
    """``parse_chat_messages``; it moved with 0.32 and again with 0.33."""
    try:
        from vllm.renderers.chat_utils import parse_chat_messages
    except ImportError:
        try:
            from vllm.renderers.chat_utils.chat_message import parse_chat_messages
        except ImportError:
            from vllm.entrypoints.chat_utils import parse_chat_messages
    return parse_chat_messages


@functools.lru_cache(maxsize=1)
def _apply_template() -> Any:
    """What applies the template; another name since 0.15."""
    try:
        from vllm.renderers.hf import safe_apply_chat_template as apply
    except ImportError:
        from vllm.entrypoints.chat_utils import apply_hf_chat_template as apply
    return apply


@functools.lru_cache(maxsize=1)
def _model_config() -> Any:
    """What is read of a text model's configuration on this way."""
    hf_config = SimpleNamespace(model_type="qwen3_moe")
    return SimpleNamespace(
        model=_MODEL,
        revision=None,
        code_revision=None,
        tokenizer=_MODEL,
        tokenizer_revision=None,
        trust_remote_code=False,
        is_multimodal_model=False,
        multimodal_config=None,
        allowed_local_media_path="",
        allowed_media_domains=None,
        media_io_kwargs={},
        enable_prompt_embeds=False,
        renderer_num_workers=1,
        hf_config=hf_config,
        hf_text_config=hf_config,
    )


def answer_prompt(question: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``prompt`` question (see the module's docstring)."""
    stage = "request"
    try:
        # The imports are no part of the question: their failure is ours to report.
        make, parse, apply = _request_class(), _parse_messages(), _apply_template()
    except ImportError as error:
        raise NotAskable(f"this release renders prompts elsewhere: {error}") from error
    try:
        fields = {"tools": question["tools"]} if question.get("tools") else {}
        request = make(model=_MODEL, messages=question["messages"], **fields)
        tools = [tool.model_dump() for tool in request.tools] if request.tools else None
        stage = "messages"
        conversation, *_ = parse(
            **_accepted(
                parse,
                messages=request.messages,
                model_config=_model_config(),
                tokenizer=tokenizers.tokenizer(),
                content_format="string",
            )
        )
        stage = "template"
        prompt = apply(
            tokenizer=tokenizers.tokenizer(),
            conversation=conversation,
            chat_template=question["template"],
            tools=tools,
            model_config=_model_config(),
            add_generation_prompt=True,
            **_accepted(apply, tokenize=False),  # 0.12 to 0.14 never do, and refuse what they do not know
            **question.get("arguments", {}),
        )
    except Exception as error:
        if "SimpleNamespace" in str(error):
            raise NotAskable(f"our stand-in of a model configuration lacks something: {error}") from error
        return {"error": {"type": type(error).__name__, "text": str(error)[:600]}, "stage": stage}
    if not isinstance(prompt, str):
        raise NotAskable(f"the template's text comes as {type(prompt).__name__}")
    return {"prompt": prompt}


HANDLERS = {"prompt": answer_prompt}
