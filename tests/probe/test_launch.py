"""What real releases make of launches. The words are theirs; which release says what is in the rules' cases."""

from __future__ import annotations

from typing import Any

import pytest

from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.session import Session

BIG = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"
SMALL = "Qwen/Qwen3-Coder-30B-A3B-Instruct"
H200 = {"name": "NVIDIA H200", "capability": [9, 0], "memory_bytes": 150110011392, "count": 8}
T4 = {"name": "Tesla T4", "capability": [7, 5], "memory_bytes": 15634661376, "count": 4}

pytestmark = pytest.mark.probe


@pytest.fixture(scope="module")
def asked(release_session: Session) -> Session:
    release_session.configs({name: config_json(find_checkpoint(name)) for name in (BIG, SMALL)})
    return release_session


def launch(
    session: Session,
    command: str,
    model: str = SMALL,
    *,
    gpu: dict[str, Any] = H200,
    weights: bool = False,
    **env: str,
) -> dict[str, Any]:
    reply = session.ask(
        "launch", timeout=300, config=model, argv=["{model}", *command.split()], env=env, gpu=gpu, weights=weights
    )
    assert reply.answer is not None, reply
    return reply.answer


def test_a_launch_that_starts_is_resolved(asked: Session) -> None:
    answer = launch(asked, "--tensor-parallel-size 8 --enable-expert-parallel", BIG, weights=True)
    assert answer["stage"] == "ok"
    assert "error" not in answer
    resolved = answer["resolved"]
    assert resolved["max_model_len"] == 262144
    assert resolved["tensor_parallel_size"] == 8
    assert resolved["enable_expert_parallel"] is True
    assert resolved["quantization"] == "fp8"
    assert resolved["model"] == resolved["served_model_name"] == BIG
    assert resolved["rotary"]["class"] == "RotaryEmbedding"
    assert resolved["rotary"]["positions"] == 262144


@pytest.mark.parametrize(
    ("command", "stage", "words"),
    [
        ("--no-such-flag", "parse", "unrecognized arguments: --no-such-flag"),
        ("--max-num-seqs abc", "parse", "argument --max-num-seqs: invalid int value: 'abc'"),
        ("--enable-auto-tool-choice", "serve-args", "--enable-auto-tool-choice requires --tool-call-parser"),
        ("--max-model-len 300000", "config", "User-specified max_model_len (300000) is greater than the derived"),
        ("--tensor-parallel-size 3", "config", "must be divisible by tensor parallel size (3)"),
    ],
)
def test_a_refusal_has_the_release_s_words_and_stage(asked: Session, command: str, stage: str, words: str) -> None:
    answer = launch(asked, command)
    assert answer["stage"] == stage
    assert words in answer["error"]["text"]
    assert "not_askable" not in answer


def test_what_only_the_layers_refuse_needs_them(asked: Session) -> None:
    command = "--pipeline-parallel-size 2"
    assert launch(asked, command, VLLM_PP_LAYER_PARTITION="30,10")["stage"] == "ok"
    answer = launch(asked, command, weights=True, VLLM_PP_LAYER_PARTITION="30,10")
    assert answer["stage"] == "weights"
    assert "sum(partitions)=40 does not match num_hidden_layers=48" in answer["error"]["text"]


def test_nothing_of_one_launch_stays_for_the_next(asked: Session) -> None:
    plain = launch(asked, "")
    allowed = launch(asked, "--max-model-len 300000", VLLM_ALLOW_LONG_MAX_MODEL_LEN="1")
    assert allowed["resolved"]["max_model_len"] == 300000
    assert launch(asked, "--max-model-len 300000")["stage"] == "config"
    launch(asked, "--reasoning-parser qwen3 --max-num-seqs 7 --compilation-config.cudagraph_mode NONE")
    assert launch(asked, "") == plain


def test_the_card_decides(asked: Session) -> None:
    assert launch(asked, "--dtype bfloat16", weights=True)["stage"] == "ok"
    answer = launch(asked, "--dtype bfloat16", gpu=T4, weights=True)
    assert "Your Tesla T4 GPU has compute capability 7.5" in answer["error"]["text"]
    small, large = launch(asked, "", gpu=T4), launch(asked, "")
    assert small["resolved"]["max_num_seqs"] < large["resolved"]["max_num_seqs"]


def test_what_this_machine_cannot_say_is_no_refusal(asked: Session) -> None:
    answer = launch(asked, "--tensor-parallel-size 2 --distributed-executor-backend ray")
    assert answer["not_askable"] == "Ray is not installed here"


def test_no_directory_of_this_machine_is_told(asked: Session) -> None:
    for command in ("", "--max-model-len 300000", "--tensor-parallel-size 3"):
        assert "qcmatrix-config" not in str(launch(asked, command))


def test_an_error_of_our_own_is_no_refusal(asked: Session) -> None:
    reply = asked.ask("launch", config="nobody sent this", argv=["{model}"], gpu=H200)
    assert reply.answer is None
    assert reply.error is not None


@pytest.mark.benchmark(group="launch")
def test_questions_a_second(asked: Session, benchmark: Any) -> None:
    """Half of them change the environment variables; none asks for the layers."""
    questions = [
        {
            "ask": "launch",
            "config": (BIG, SMALL)[number % 2],
            "argv": [
                "{model}",
                "--tensor-parallel-size",
                str((1, 2, 4, 8)[number % 4]),
                "--max-num-seqs",
                str(number + 1),
            ],
            "env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"} if number % 4 == 0 else {},
            "gpu": H200,
            "weights": False,
        }
        for number in range(50)
    ]
    list(asked.ask_many(questions, timeout=300))
    replies = benchmark.pedantic(lambda: list(asked.ask_many(questions, timeout=300)), rounds=3)
    assert all(reply.answer is not None for reply in replies)
    benchmark.extra_info["questions_a_second"] = round(len(questions) / benchmark.stats.stats.min, 1)
