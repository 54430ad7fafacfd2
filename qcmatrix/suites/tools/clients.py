"""The ``openai`` package as the second client: its accumulator over our chunks, and itself over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qcmatrix.exchange.chat import Answer
from qcmatrix.exchange.wire import Exchange, WireError
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Wrong

__all__ = ["ClientTruth", "accumulated", "ask_typed", "expect_client_agrees"]

ClientTruth = tuple[str, list[tuple[str, str, str]], str | None]
"""Content, calls (id, name, arguments), finish reason: what a program that uses the client sees."""


def accumulated(chunks: Sequence[Mapping[str, Any]]) -> ClientTruth:
    """What ``openai``'s own accumulator makes of the chunks of one stream.

    Raises:
        Exception: whatever it raises on chunks that it cannot take.
    """
    from openai.lib.streaming.chat import ChatCompletionStreamState
    from openai.types.chat import ChatCompletionChunk

    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for chunk in chunks:
        list(state.handle_chunk(ChatCompletionChunk.construct(**chunk)))
    return _truth(state.current_completion_snapshot)


def expect_client_agrees(bench: Bench, answer: Answer) -> None:
    """The typed client ends up with what was put together from the raw chunks.

    It adds texts up: a call's id or name that comes twice becomes one long text there.
    """
    try:
        truth = accumulated([chunk for chunk in answer.chunks if "error" not in chunk])
    except Exception as error:
        raise Wrong("chunks that openai's client can add up", f"{type(error).__name__}: {error}"[:300]) from error
    ours: ClientTruth = (answer.content, [(c.id, c.name, c.arguments) for c in answer.calls], answer.finish)
    bench.expect(truth == ours, f"openai's client ends up with {ours!r}"[:600], truth)


def ask_typed(bench: Bench, **fields: Any) -> ClientTruth:
    """One chat request by ``openai.OpenAI`` over HTTP, streamed or whole as the run is.

    Raises:
        Wrong: the client cannot read the reply.
        WireError: there is none.
    """
    import openai

    body = {"model": bench.subject.model, "temperature": 0, "seed": bench.seed, **fields}
    known = {name: body.pop(name) for name in _KNOWN if name in body}
    started = time.perf_counter()
    heard: list[str] = []
    error = ""
    with bench.wire.openai() as client:
        try:
            return _typed(client, known, body, bench.streams, heard.append)
        except (openai.APIConnectionError, openai.APITimeoutError) as problem:
            error = f"no reply: {type(problem).__name__}"
            raise WireError(error) from problem
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"[:300]
            raise Wrong("a reply that openai's client can read", error) from problem
        finally:
            bench.exchanges.append(
                Exchange(
                    method="POST",
                    path="/v1/chat/completions",
                    request={**known, **body, **({"stream": True} if bench.streams else {})},
                    status=None if error else 200,
                    response="\n".join(heard),
                    seconds=round(time.perf_counter() - started, 6),
                    error=error,
                )
            )


_KNOWN = ("model", "messages", "temperature", "seed", "tools", "tool_choice", "max_tokens", "parallel_tool_calls")


def _typed(
    client: Any, known: dict[str, Any], more: dict[str, Any], streams: bool, heard: Callable[[str], None]
) -> ClientTruth:
    if not streams:
        reply = client.chat.completions.create(**known, extra_body=more)
        heard(reply.model_dump_json(warnings=False))
        return _truth(reply)
    chunks = []
    for chunk in client.chat.completions.create(**known, extra_body=more, stream=True):
        heard(chunk.model_dump_json(warnings=False))
        chunks.append(chunk.model_dump(exclude_unset=True, warnings=False))
    return accumulated(chunks)


def _truth(completion: Any) -> ClientTruth:
    choice = completion.choices[0]
    message = choice.message
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return message.content or "", calls, choice.finish_reason
