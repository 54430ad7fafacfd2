"""Prompts of a length in tokens, on tokenizers of different kinds."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qcmatrix.exchange.wire import Wire
from qcmatrix.suites.bench import Bench, Subject
from qcmatrix.suites.context.fitting import exact_text, pieces_for, some_ids
from qcmatrix.suites.context.texts import code_file, prose_line
from qcmatrix.suites.declare import Mode, NotApplicable

Split = Callable[[str], list[str]]

# Each character; words with the space before them; the same where long words are cut and the first word is one more.
SPLITS: dict[str, Split] = {
    "bytes": list,
    "words": lambda text: re.findall(r" ?\w+|\s+|[^\w\s]", text),
    "pieces": lambda text: re.findall(r" ?\w{1,4}|\s+|[^\w\s]", text),
}


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - texts, not secrets


@contextmanager
def a_tokenizer(split: Split) -> Iterator[tuple[Bench, list[int]]]:
    """A server that only tokenizes, and how many tokens each call was of."""
    calls: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            around = 7 if "messages" in body else 0
            text = body["messages"][0]["content"] if around else body["prompt"]
            tokens = [1] * around + [len(piece) for piece in split(text)]
            calls.append(len(tokens))
            data = json.dumps({"count": len(tokens), "tokens": tokens}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    wire = Wire(f"http://127.0.0.1:{server.server_address[1]}")
    try:
        yield Bench(Subject(root=wire.root, model="m", max_model_len=8192), wire, Mode.ONCE), calls
    finally:
        wire.close()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("kind", SPLITS)
@pytest.mark.parametrize("total", [1_000, 8_128])
def test_a_text_has_exactly_the_tokens_that_were_asked_for(kind: str, chat: bool, total: int) -> None:
    with a_tokenizer(SPLITS[kind]) as (bench, calls):
        text = exact_text(bench, total, seeded(4), chat=chat)
        assert len(SPLITS[kind](text)) + (7 if chat else 0) == total
        assert sum(count > total // 2 for count in calls) <= 5


def test_a_tokenizer_of_which_no_text_is_one_token_more_is_not_guessed_at() -> None:
    with a_tokenizer(lambda text: text.split("\t")) as (bench, _), pytest.raises(NotApplicable):
        exact_text(bench, 100, seeded(4), chat=False)


@pytest.mark.parametrize("make", [prose_line, code_file])
def test_pieces_are_nearly_as_many_tokens_and_never_more(make: Callable[[random.Random], str]) -> None:
    with a_tokenizer(SPLITS["pieces"]) as (bench, _):
        count = len(SPLITS["pieces"]("".join(pieces_for(bench, 20_000, seeded(9), make))))
        assert 19_200 <= count <= 20_000


def test_prompts_of_ids_have_any_length() -> None:
    with a_tokenizer(SPLITS["bytes"]) as (bench, _):
        ids = some_ids(bench, seeded(1))
        assert [len(ids(length)) for length in (1, 17, 100_000)] == [1, 17, 100_000]
