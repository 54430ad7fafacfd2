"""``tools``: a given model output through the release's own tool parser and its own chat serving code.

What is driven is ``OpenAIServingChat.chat_completion_full_generator`` and ``chat_completion_stream_generator`` of the
release, fed with the ``RequestOutput`` objects that its engine would have sent, so that whatever a client would see is
answered: the parser's deltas, what serving adds at the end of a stream (arguments not yet sent, the finish reason), and
how a parser's crash reaches the client. Left out is only what lies before and after: engine, detokenizer and HTTP.

Question: ``{"parser", "tools", "text", "finish": "stop" | "length", "request": {...}, "splits": [...], "compact"}``; a
split is ``{"pieces": "tokens" | "letters", "group": n | "all" | "lines" | {"seed", "most"}, "lag": letters}``.
Answer: ``{"class": the parser's class, or null, "whole": REPLY, "streamed": [REPLY, ...]}`` (without a ``text`` the
class alone); a reply is ``{"message": {...}}``, ``{"deltas": [[content, calls, finish reason, reasoning], ...]}`` or,
for long texts, ``{"compact": {...}}``, with ``seconds`` of CPU time, or ``{"crash": {"type", "text"}}``.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import random
import time
from types import SimpleNamespace
from typing import Any

from qcmatrix_worker import NotAskable
from qcmatrix_worker import tokenizer as tokenizers

_MODEL = "qwen3-coder"
_PROMPT = "<|im_start|>user\nGo on.<|im_end|>\n<|im_start|>assistant\n"


@functools.lru_cache(maxsize=1)
def _serving_module() -> Any:
    """The module of ``OpenAIServingChat``; it moved with 0.15.0."""
    new, old = "vllm.entrypoints.openai.chat_completion", "vllm.entrypoints.openai"
    name = f"{new}.serving" if importlib.util.find_spec(new) is not None else f"{old}.serving_chat"
    return importlib.import_module(name)


def _accepted(function: Any, **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that this release's function takes."""
    taken = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in taken}


def _accepted_or_any(function: Any, **arguments: Any) -> dict[str, Any]:
    """The same, where ``**kwargs`` takes all."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return arguments
    return _accepted(function, **arguments)


@functools.lru_cache(maxsize=8)
def _tool_parser_class(name: str) -> Any:
    try:
        from vllm.tool_parsers import ToolParserManager
    except ImportError:
        from vllm.entrypoints.openai.tool_parsers import ToolParserManager
    return ToolParserManager.get_tool_parser(name)


@functools.lru_cache(maxsize=8)
def _serving(parser: str) -> Any:
    """The serving object of the release without its engine: the attributes that its two generators read."""
    module = _serving_module()
    serving = object.__new__(module.OpenAIServingChat)
    tokenizer = tokenizers.tokenizer()
    hf_config = SimpleNamespace(model_type="qwen3_moe")
    model_config = SimpleNamespace(
        model=_MODEL,
        max_model_len=262144,
        hf_config=hf_config,
        hf_text_config=hf_config,
        logits_processors=None,
    )
    attributes = {
        "response_role": "assistant",
        "chat_template": None,
        "chat_template_content_format": "auto",
        "default_chat_template_kwargs": {},
        "trust_request_chat_template": False,
        "enable_auto_tools": True,
        "exclude_tools_when_tool_choice_none": False,
        "enable_prompt_tokens_details": False,
        "enable_force_include_usage": False,
        "enable_per_request_metrics": False,
        "enable_log_outputs": False,
        "enable_log_deltas": False,
        "request_logger": None,
        "log_error_stack": False,
        "return_tokens_as_token_ids": False,
        "use_harmony": False,
        "tool_call_id_type": "random",
        "system_fingerprint": None,
        "reasoning_parser": None,
        "reasoning_parser_cls": None,
        "_include_reasoning_tokens_details": False,
        "tool_parser": _tool_parser_class(parser),
        "model_config": model_config,
    }
    for name, value in attributes.items():
        setattr(serving, name, value)
    try:
        from vllm.parser import ParserManager
    except ImportError:  # before 0.16 the serving code drives the tool parser itself
        return serving
    serving.parser_cls = ParserManager.get_parser(
        **_accepted(
            ParserManager.get_parser,
            tool_parser_name=parser,
            reasoning_parser_name="",
            enable_auto_tools=True,
            model_name=_MODEL,
            is_harmony=False,
            tool_strict_level="auto",
            tokenizer=tokenizer,
        )
    )
    return serving


def _request(question: dict[str, Any], *, stream: bool) -> Any:
    """The chat request as it stands after the release's tool parser has adjusted it."""
    made = _serving_module().ChatCompletionRequest(
        model=_MODEL,
        messages=[{"role": "user", "content": "Go on."}],
        stream=stream,
        **({"tools": question["tools"]} if question["tools"] else {}),
        **question.get("request", {}),
    )
    if question["tools"] and made.tool_choice != "none":
        parser_class = _tool_parser_class(question["parser"])
        takes_tools = "tools" in inspect.signature(parser_class.__init__).parameters or any(
            word in inspect.signature(parser_class.__init__).parameters for word in ("args", "kwargs")
        )
        parser = parser_class(tokenizers.tokenizer(), *([made.tools] if takes_tools else []))
        made = parser.adjust_request(made) or made
    return made


def deltas_of(text: str, split: dict[str, Any], finish: str) -> list[tuple[str, list[int]]]:
    """(text, token ids) of each step of the engine, the token that ends the turn included."""
    pieces = tokenizers.letters(text) if split["pieces"] == "letters" else tokenizers.tokens(text)
    if finish == "stop":
        pieces.append(("", [tokenizers.END_OF_TURN]))
    group = split.get("group", 1)
    made: list[tuple[str, list[int]]] = []
    if group == "lines":
        line: list[tuple[str, list[int]]] = []
        for piece in pieces:
            line.append(piece)
            if piece[0].endswith("\n"):
                made.append(_joined(line))
                line = []
        if line:
            made.append(_joined(line))
        return made
    draw = random.Random(group["seed"]) if isinstance(group, dict) else None  # noqa: S311 - cuts, not secrets
    start = 0
    while start < len(pieces):
        if draw is not None:
            width = 1 + int(draw.random() * group["most"])
        else:
            width = len(pieces) if group == "all" else int(group)
        made.append(_joined(pieces[start : start + width]))
        start += width
    return _lagging(made, split.get("lag", 0))


def _joined(pieces: list[tuple[str, list[int]]]) -> tuple[str, list[int]]:
    return "".join(text for text, _ in pieces), [token for _, ids in pieces for token in ids]


def _lagging(deltas: list[tuple[str, list[int]]], lag: int) -> list[tuple[str, list[int]]]:
    """The same with the text held back by ``lag`` letters: what vLLM does when a request has stop strings."""
    if not lag:
        return deltas
    whole = "".join(text for text, _ in deltas)
    made: list[tuple[str, list[int]]] = []
    seen = given = 0
    for index, (text, ids) in enumerate(deltas):
        seen += len(text)
        upto = len(whole) if index + 1 == len(deltas) else max(given, seen - lag)
        made.append((whole[given:upto], ids))
        given = upto
    return made


def _output(text: str, ids: list[int], finish: str | None) -> Any:
    from vllm.outputs import CompletionOutput, RequestOutput

    completion = CompletionOutput(
        index=0,
        text=text,
        token_ids=ids,
        cumulative_logprob=None,
        logprobs=None,
        finish_reason=finish,
        stop_reason=None,
    )
    return RequestOutput(
        request_id="chatcmpl-0",
        prompt=_PROMPT,
        prompt_token_ids=_prompt_ids(),
        prompt_logprobs=None,
        outputs=[completion],
        finished=finish is not None,
    )


@functools.lru_cache(maxsize=1)
def _prompt_ids() -> list[int]:
    ids: list[int] = tokenizers.backend().encode(_PROMPT, add_special_tokens=False).ids
    return ids


async def _sent(deltas: list[tuple[str, list[int]]], finish: str) -> Any:
    for index, (text, ids) in enumerate(deltas):
        yield _output(text, ids, finish if index + 1 == len(deltas) else None)


def _arguments(serving: Any, request: Any, generator: Any, method: Any) -> dict[str, Any]:
    module = _serving_module()
    parser = None
    if "parser" in inspect.signature(method).parameters and getattr(serving, "parser_cls", None) is not None:
        # Up to 0.22 the whole reply is parsed without this one, though the class is there for streams.
        parser = serving.parser_cls(
            tokenizers.tokenizer(),
            request.tools,
            **_accepted_or_any(serving.parser_cls.__init__, chat_template_kwargs={}, model_config=serving.model_config),
        )
    return _accepted(
        method,
        request=request,
        result_generator=generator,
        request_id="chatcmpl-0",
        model_name=_MODEL,
        conversation=[{"role": "user", "content": "Go on."}],
        tokenizer=tokenizers.tokenizer(),
        request_metadata=module.RequestResponseMetadata(request_id="chatcmpl-0"),
        enable_force_include_usage=False,
        reasoning_parser=None,
        chat_template_kwargs={},
        mm_token_counts=None,
        parser=parser,
    )


async def _whole(question: dict[str, Any], one: list[tuple[str, list[int]]]) -> dict[str, Any]:
    serving = _serving(question["parser"])
    request = _request(question, stream=False)
    finish = question.get("finish", "stop")
    method = serving.chat_completion_full_generator
    response = await method(**_arguments(serving, request, _sent(one, finish), method))
    if not hasattr(response, "choices"):
        said = json.loads(response.model_dump_json())
        return {"crash": _error_of(said)}
    choice = json.loads(response.model_dump_json())["choices"][0]
    message = choice["message"]
    return {
        "message": {
            "content": message.get("content"),
            "reasoning": message.get("reasoning") or message.get("reasoning_content"),
            "calls": [_call(call) for call in message.get("tool_calls") or []],
            "finish": choice["finish_reason"],
        }
    }


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    return {
        "id": call.get("id"),
        "type": call.get("type"),
        "name": function.get("name"),
        "arguments": function.get("arguments"),
    }


def _error_of(said: dict[str, Any]) -> dict[str, str]:
    error = said.get("error") or said
    return {"type": str(error.get("type")), "text": str(error.get("message"))[:400]}


async def _streamed(question: dict[str, Any], deltas: list[tuple[str, list[int]]]) -> dict[str, Any]:
    serving = _serving(question["parser"])
    request = _request(question, stream=True)
    finish = question.get("finish", "stop")
    method = serving.chat_completion_stream_generator
    chunks: list[dict[str, Any]] = []
    async for line in method(**_arguments(serving, request, _sent(deltas, finish), method)):
        parts = [part.removeprefix("data: ") for part in line.split("\n") if part.startswith("data: ")]
        chunks.extend(json.loads(part) for part in parts if part != "[DONE]")
    seen: list[Any] = []
    for chunk in chunks:
        if "error" in chunk or "choices" not in chunk:
            return {"deltas": seen, "crash": _error_of(chunk)}
        for choice in chunk["choices"]:
            delta = choice["delta"]
            calls = [[call.get("index"), *_call(call).values()] for call in delta.get("tool_calls") or []]
            reasoning = delta.get("reasoning") or delta.get("reasoning_content")
            if delta.get("content") or calls or reasoning or choice.get("finish_reason"):
                seen.append([delta.get("content"), calls, choice.get("finish_reason"), reasoning])
    return {"deltas": seen, "steps": len(deltas)}


def _run(loop: Any, work: Any) -> dict[str, Any]:
    """The reply, with the CPU seconds that it took; a crash is a reply of its own."""
    started = time.process_time()
    try:
        reply: dict[str, Any] = loop.run_until_complete(work)
    except Exception as error:
        reply = {"crash": {"type": type(error).__name__, "text": str(error)[:400]}}
    said = reply.get("crash", {}).get("text", "")
    if "no attribute" in said and any(name in said for name in ("OpenAIServingChat", "SimpleNamespace")):
        raise NotAskable(f"our stand-in lacks something that this release reads: {said}")
    reply["seconds"] = round(time.process_time() - started, 4)
    return reply


def _compacted(reply: dict[str, Any]) -> dict[str, Any]:
    """A long reply by its measures: the digest of the arguments as JSON, how many deltas brought them, the largest."""
    if "crash" in reply:
        return {"crash": reply["crash"], "seconds": reply["seconds"]}
    if "message" in reply:
        message = reply["message"]
        calls = [[index, *call.values()] for index, call in enumerate(message["calls"])]
        deltas = [[message["content"], calls, message["finish"], None]]
    else:
        deltas = reply["deltas"]
    parts = [call for delta in deltas for call in delta[1]]
    sent = [len(call[4]) for call in parts if call[4]]
    arguments = "".join(call[4] or "" for call in parts)
    try:
        canonical = json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
    except ValueError:
        digest = None
    return {
        "compact": {
            "names": [call[3] for call in parts if call[3]],
            "sha256": digest,
            "characters": len(arguments),
            "deltas": len(sent),
            "largest": max(sent, default=0),
            "finish": deltas[-1][2] if deltas else None,
            "content": "".join(delta[0] or "" for delta in deltas)[:200],
        },
        "seconds": reply["seconds"],
    }


def answer_tools(question: dict[str, Any]) -> dict[str, Any]:
    """Answer a ``tools`` question (see the module's docstring)."""
    try:
        found = _tool_parser_class(question["parser"])
    except (KeyError, ImportError) as error:
        return {"class": None, "why": str(error)}
    answer: dict[str, Any] = {"class": f"{found.__module__}.{found.__qualname__}"}
    try:
        # What fails here is this machine's or our stand-in's doing, and no verdict on the release.
        _serving(question["parser"])
        _output("", [], None)
    except Exception as error:
        raise NotAskable(f"the chat serving code cannot be set up: {type(error).__name__}: {error}") from error
    if "text" not in question:
        return answer
    loop = asyncio.new_event_loop()
    try:
        text, finish = question["text"], question.get("finish", "stop")
        # Cut before the clock runs.
        one = deltas_of(text, {"pieces": "tokens", "group": "all"}, finish)
        cuts = [deltas_of(text, split, finish) for split in question.get("splits", [])]
        answer["whole"] = _run(loop, _whole(question, one))
        answer["streamed"] = [_run(loop, _streamed(question, cut)) for cut in cuts]
    finally:
        loop.close()
    if question.get("compact"):
        answer["whole"] = _compacted(answer["whole"])
        answer["streamed"] = [_compacted(reply) for reply in answer["streamed"]]
    return answer


HANDLERS = {"tools": answer_tools}
