"""Whole logs: ranks that interleave, several starts, what is cut off, what is no text."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

import qcmatrix.memory.accuracy
from qcmatrix.errors import FileProblem
from qcmatrix.memory.accuracy import read_cases
from qcmatrix.startup_log.cause import Cause, cause_of
from qcmatrix.startup_log.reader import StartupLog, read_log

PUBLIC = [json.loads(line) for line in (Path(__file__).parent / "public_logs.jsonl").read_text("utf-8").splitlines()]
PACKAGED = Path(qcmatrix.memory.accuracy.__file__).parent / "data" / "public_cases.jsonl"
SAME = {(name, name) for name in ("kv_too_small", "oom", "config_error")} | {
    ("kv_too_small", "oom"),  # nothing is left for the KV cache: people call both out of memory
}
NEEDED = (
    "ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (3.18 GiB)."
)


def read(text: str | bytes) -> tuple[StartupLog, Cause | None]:
    log = read_log(io.BytesIO(text.encode() if isinstance(text, str) else text))
    return log, cause_of(log.attempt)


def named(cause: Cause | None) -> str:
    if cause is None:
        return "none"
    if cause.known is not None:
        return cause.known.match.cause
    return "exception" if cause.raised is not None else "symptom"


@pytest.mark.parametrize("case", PUBLIC, ids=lambda case: case["url"].rpartition("github.com/")[2])
def test_public_logs(case: dict[str, str]) -> None:
    assert named(read(case["text"])[1]) in case["cause"].split("|")


def test_the_cause_comes_before_what_followed() -> None:
    head = " ERROR 11-02 10:00:02 [x.py:1] "
    text = "\n".join(
        [
            f"(Worker_TP1 pid=2){head}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            f"(Worker_TP0 pid=1){head}RuntimeError: NCCL error: unhandled system error",
            f"(EngineCore pid=3){head}Exception: WorkerProc initialization failed due to an exception in",
            "(APIServer pid=4) RuntimeError: Engine core initialization failed. See root cause above.",
        ]
    )
    _, cause = read(text)
    assert named(cause) == "cuda-out-of-memory"
    assert cause is not None
    assert [each.match.fingerprint.id for each in cause.symptoms] == ["worker-died", "engine-core-failed"]
    assert [each.match.fingerprint.id for each in cause.others] == ["nccl-failure"]
    assert cause.known is not None
    assert (cause.known.line, cause.known.process) == (1, "Worker_TP1 pid=2")


def test_a_death_without_a_cause_is_said_to_be_one() -> None:
    _, cause = read("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n")
    assert named(cause) == "symptom"


def test_an_unknown_exception_is_quoted_with_its_place() -> None:
    prefix = "(EngineCore pid=3) ERROR 11-02 10:00:04 [core.py:1] "
    text = "\n".join(
        prefix + line
        for line in (
            "Traceback (most recent call last):",
            '  File "/x/vllm/odd.py", line 12, in oddly',
            '    raise OddError("out of memory is what we do not say")',
            "vllm.odd.OddError: nobody has seen this",
        )
    )
    _, cause = read(text)
    assert cause is not None
    assert cause.raised is not None
    assert (cause.raised.type, cause.raised.message) == ("OddError", "nobody has seen this")
    assert cause.raised.where == "x/vllm/odd.py:12 in oddly"


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ('File "/x/vllm/config/vllm.py", line 12, in __post_init__', "configuration-refused"),
        ('File "/x/vllm/config/speculative.py", line 12, in f', "speculative-decoding-refused"),
        (
            'File "/x/vllm/model_executor/models/qwen3_moe.py", line 12, in load_weights',
            "weights-do-not-match-the-model",
        ),
        ('File "/x/torch/_inductor/codecache.py", line 12, in f', "compilation-fails"),
        ('File "/x/vllm/odd.py", line 12, in f', "exception"),
    ],
)
def test_an_exception_is_known_by_its_place(place: str, cause: str) -> None:
    _, found = read(f"Traceback (most recent call last):\n  {place}\n    f(x)\nValueError: nobody has seen this\n")
    assert named(found) == cause


@pytest.mark.parametrize(
    ("function", "during"),
    [
        ("load_model", "loading the weights"),
        ("profile_run", "the profile run"),
        ("_dummy_sampler_run", "warming up the sampler"),
        ("capture_model", "capturing CUDA graphs"),
    ],
)
def test_what_it_was_doing(function: str, during: str) -> None:
    text = (
        "Traceback (most recent call last):\n"
        f'  File "/x/vllm/v1/worker/gpu_model_runner.py", line 12, in {function}\n'
        "    y = f(x)\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
    )
    _, cause = read(text)
    assert cause is not None
    assert cause.known is not None
    assert cause.known.during == during


def test_the_last_start_is_told() -> None:
    start = "INFO 11-02 10:00:01 [api_server.py:1] vLLM API server version 0.11.0\n"
    log, cause = read(start + NEEDED + "\n" + start + "ValueError: No available memory for the cache blocks.\n")
    assert log.attempts == 2
    assert named(cause) == "no-memory-for-the-kv-cache"
    log, cause = read(start + NEEDED + "\n" + start)
    assert (log.attempts, named(cause)) == (2, "kv-cache-too-small-for-context")


def test_errors_of_requests_are_no_failed_start() -> None:
    served = "INFO:     Application startup complete.\n"
    log, cause = read(served + "ERROR 11-02 10:00:04 [x.py:1] ValueError: max_model_len is 4096 and 5000 were given\n")
    assert log.attempt.served_line == 1
    assert cause is None
    _, cause = read(served + "ERROR 11-02 10:00:04 [core.py:1] EngineCore encountered a fatal error.\n")
    assert cause is not None
    assert cause.after_serving


def test_what_a_start_goes_on_after_is_no_cause() -> None:
    log, cause = read(
        "ERROR 11-02 10:00:04 [fa_utils.py:57] Cannot use FA version 2: the device is older\n"
        "Traceback (most recent call last):\n"
        "ValueError: caught and printed\n"
        "INFO 11-02 10:00:05 [gpu_model_runner.py:1] Starting to load model Qwen/X...\n"
    )
    assert (cause, log.attempt.stage) == (None, "loading the weights")


def test_warnings_are_no_causes() -> None:
    _, cause = read(
        "WARNING 11-02 10:00:04 [x.py:1] Custom allreduce is disabled: NCCL error: unhandled system error\n"
        "/x/y.py:3: UserWarning: CUDA out of memory is possible\n"
    )
    assert cause is None


def test_a_message_that_a_terminal_has_wrapped() -> None:
    wrapped = "\n".join(NEEDED[index : index + 80] for index in range(0, len(NEEDED), 80))
    assert named(read(wrapped)[1]) == "kv-cache-too-small-for-context"


@pytest.mark.parametrize(
    "data",
    [
        NEEDED.replace("\n", "\r\n").encode(),
        NEEDED.encode("utf-16"),
        gzip.compress(NEEDED.encode()),
        b"\xfa\xfe\xff" * 3 + b"\n" + NEEDED.encode(),
        b"loading 10%\rloading 20%\r" + NEEDED.encode() + b"\n",
        NEEDED.encode() + b"\n" + b"x" * 3_000_000,
        b"x" * 3_000_000 + b"\n" + NEEDED.encode(),
    ],
)
def test_encodings_and_long_lines(data: bytes) -> None:
    assert named(read(data)[1]) == "kv-cache-too-small-for-context"


@pytest.mark.parametrize("data", [b"\x00\x01\x02\x03" * 900, b"\x1f\x8b\x08\x00broken"])
def test_what_is_no_text(data: bytes) -> None:
    with pytest.raises(FileProblem):
        read(data)


def test_a_long_log_keeps_its_head_and_its_end() -> None:
    noise = "INFO 11-02 10:00:04 [weight_utils.py:1] Prefetching checkpoint files: still at it\n" * 20_000
    head = "INFO 11-02 10:00:01 [gpu_model_runner.py:1] Model loading took 56.26 GiB and 93.1 seconds\n"
    log, cause = read(head + noise + NEEDED)
    assert log.attempt.readings["weights_gib"][0].value == "56.26"
    assert named(cause) == "kv-cache-too-small-for-context"
    assert log.lines == 20_002


def test_the_packaged_cases() -> None:
    """Every error of the public calibration cases is told as what it was; the misses are counted."""
    cases = [case for case in read_cases(PACKAGED) if case.error_text and case.outcome != "served"]
    told = {case.id: read(case.error_text or "")[1] for case in cases}
    misses = {
        case.id
        for case in cases
        if (cause := told[case.id]) is None
        or cause.known is None
        or (cause.known.match.fingerprint.outcome, case.outcome) not in SAME
    }
    # One text only says that a machine "failed to run" the model.
    assert misses <= {"llama405b-fp8-h100x8-load"}


def test_the_engine_s_words_are_not_taken_for_a_person_s() -> None:
    _, cause = read("ERROR 10-23 08:00:00 [core.py:9] TypeError: 3 experts are not divisible by something new")
    assert named(cause) == "exception"


def test_a_wrapped_line_that_has_lost_its_head() -> None:
    head = "(EngineCore pid=7) ERROR 06-20 21:16:54 [core.py:1] "
    text = f"{head}ValueError: To serve at least one request with max seq len (9000), (4.26 GiB KV cach\n"
    _, cause = read(text + "e is needed, which is larger than the available KV cache memory (3.00 GiB).\n")
    assert named(cause) == "kv-cache-too-small-for-context"


def test_a_command_behind_a_message_is_no_part_of_it() -> None:
    log, _ = read("ValueError: Unknown RoPE scaling type x\nvllm serve a/b \\\n  --port 1\n")
    assert log.attempt.failed[0].text == "ValueError: Unknown RoPE scaling type x"
    assert log.attempt.commands


def test_a_port_that_is_taken_is_found_out_after_the_start_up_is_complete() -> None:
    text = "INFO:     Application startup complete.\nERROR:    [Errno 98] error while attempting to bind on address "
    _, cause = read(text + "('0.0.0.0', 8000): address already in use\nINFO:     Application shutdown complete.\n")
    assert named(cause) == "port-in-use"
    assert cause is not None
    assert not cause.after_serving


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("INFO 11-02 10:00:04 [core.py:1] init engine (profile, create kv cache, warmup model) took 41.37 s", "front"),
        ("INFO 11-02 10:00:04 [loggers.py:1] Engine 000: Avg prompt throughput: 1.0 tokens/s", "served"),
        ('INFO:     10.0.0.1:4 - "POST /v1/chat/completions HTTP/1.1" 200 OK', "served"),
        ('DEBUG:urllib3.connectionpool:https://huggingface.co:443 "HEAD /x HTTP/1.1" 200 0', "graphs"),
    ],
)
def test_how_far_it_came(line: str, stage: str) -> None:
    log, _ = read(f"INFO 11-02 10:00:01 [x.py:1] Graph capturing finished in 21 secs, took 0.85 GiB\n{line}\n")
    assert stage in log.attempt.stage


NOT_FOUND = (
    "RepositoryNotFoundError: 401 Client Error. Repository Not Found for url: https://huggingface.co/a/b/x. If you are "
    "trying to access a private or gated repo, log in."
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "GatedRepoError: 403 Client Error. Cannot access gated repo for url https://huggingface.co/a/b/x",
            "model-gated",
        ),
        (
            NOT_FOUND,
            "model-not-found",
        ),
        (
            "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/4 clients joined",
            "ranks-cannot-meet",
        ),
        ("nixl._bindings.nixlBackendError: NIXL_ERR_BACKEND", "kv-connector-failure"),
        ("somelib.brandNewError: no words of ours", "exception"),
    ],
)
def test_causes_that_were_mistaken_once(text: str, cause: str) -> None:
    assert named(read(f"(EngineCore pid=7) ERROR 06-20 21:16:54 [core.py:1] {text}\n")[1]) == cause
