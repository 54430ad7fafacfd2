"""The words and the environment that an entry becomes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from qcmatrix.launch.command import Form
from qcmatrix.matrix.entries import Entry, read_matrix
from qcmatrix.serving.command import environment, masked, recorded, served_name, words_of
from qcmatrix.serving.installation import Installation, command_for
from qcmatrix.serving.ports import HeldPort

MATRIX = Path(__file__).parents[2] / "matrix.toml"
PYTHON = Installation(kind="python", release="0.33.0", what="vLLM", python=Path("/venv/bin/python"))
IMAGE = Installation(
    kind="image", release="0.33.0", what="image", image="vllm/vllm-openai:v0.33.0", docker="/usr/bin/docker"
)
DOCUMENTED = "sk-of-the-document"


@pytest.mark.parametrize(
    "given",
    [
        f"--host 0.0.0.0 --port 30000 --api-key {DOCUMENTED}",
        f"--port=1 --port 2 --host=:: --api-key={DOCUMENTED} --api_key {DOCUMENTED}",
        f"--api-key {DOCUMENTED} {DOCUMENTED}-2 --port $PORT",
        f"--api-k {DOCUMENTED} --uds /tmp/socket",
    ],
)
def test_where_it_listens_and_its_key_are_ours(make_entry: Callable[..., Entry], given: str) -> None:
    entry = make_entry(f"vllm serve some/model {given} --max-model-len 200K", vllm="0.33.0", fleet="1xH200")
    assert words_of(entry).arguments == ("some/model", "--max-model-len", "200K")
    command = command_for(entry, PYTHON, port=4711, key="our-key")
    assert command.argv[-4:] == ("--host", "127.0.0.1", "--port", "4711")
    assert not [word for word in command.argv if DOCUMENTED in word or "our-key" in word]
    assert command.env["VLLM_API_KEY"] == "our-key"


def test_everything_else_stays_word_for_word(make_entry: Callable[..., Entry]) -> None:
    words = """--rope-scaling '{"rope_type": "yarn"}' --no-such-flag 3 --max-num-seqs many -tp 8 --hf-overrides.a.b=c"""
    entry = make_entry(f"vllm serve some/model {words} --port 8000", vllm="0.33.0")
    assert words_of(entry).arguments == (
        "some/model", "--rope-scaling", '{"rope_type": "yarn"}', "--no-such-flag", "3", "--max-num-seqs", "many",
        "-tp", "8", "--hf-overrides.a.b=c",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("vllm serve org/model", "org/model"),
        ("vllm serve org/model --served-model-name coder other", "coder"),
        ("vllm serve tiny", "tiny"),
        ("python -m vllm.entrypoints.openai.api_server --model org/model", "org/model"),
        ("docker run --gpus all -p 8000:8000 vllm/vllm-openai:v0.33.0 --model org/model", "org/model"),
    ],
)
def test_what_clients_call_it(make_entry: Callable[..., Entry], command: str, name: str) -> None:
    assert served_name(make_entry(command)) == name


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("vllm serve tiny --enforce-eager", ("/made", "--enforce-eager", "--served-model-name", "tiny")),
        ("vllm serve tiny --served-model-name q", ("/made", "--served-model-name", "q")),
        ("vllm serve --model tiny -tp 2", ("--model", "/made", "-tp", "2", "--served-model-name", "tiny")),
        ("vllm serve --model=tiny", ("--model=/made", "--served-model-name", "tiny")),
    ],
)
def test_the_tiny_checkpoint_has_a_place(
    make_entry: Callable[..., Entry], command: str, arguments: tuple[str, ...]
) -> None:
    assert words_of(make_entry(command), "/made").arguments == arguments


def test_the_other_forms_of_a_command(make_entry: Callable[..., Entry]) -> None:
    module = make_entry("python -m vllm.entrypoints.openai.api_server --model org/m --port 1", fleet="1xH200")
    assert words_of(module).form is Form.MODULE
    started = command_for(module, PYTHON, port=2, key="k").argv
    assert started[:5] == ("/venv/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--model", "org/m")
    container = make_entry("docker run -e VLLM_X=1 --gpus all vllm/vllm-openai:v0.33.0 -tp 2 --model org/m")
    assert words_of(container).arguments == ("org/m", "-tp", "2")
    assert words_of(container).env["VLLM_X"] == "1"


def test_the_environment(make_entry: Callable[..., Entry]) -> None:
    entry = make_entry("CUDA_VISIBLE_DEVICES=5 VLLM_USE_DEEP_GEMM=1 vllm serve org/m", fleet="2xH200")
    base = {
        "PATH": "/usr/bin", "HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_secret", "PYTHONPATH": "/mine",
        "VIRTUAL_ENV": "/mine",
        "VLLM_PORT": "tcp://10.0.0.1:8000", "VLLM_API_KEY": "old", "LANG": "C",
    }  # fmt: skip
    cards = [(2, "GPU-2"), (3, "GPU-3")]
    env = command_for(entry, PYTHON, port=1, key="our-key", cards=cards, base=base).env
    assert env["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert env["VLLM_USE_DEEP_GEMM"] == "1"
    assert env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == env["HF_HUB_OFFLINE"] == "1"
    assert env["PATH"].startswith("/venv/bin:")
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "VLLM_PORT"} & set(env)
    kept = recorded(env, words_of(entry).env)
    assert "LANG" not in kept
    _, shown = masked((), kept)
    assert {shown["HF_TOKEN"], shown["VLLM_API_KEY"]} == {"***"}
    assert shown["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_a_cpu_entry_keeps_its_hands_off_the_cards(make_entry: Callable[..., Entry]) -> None:
    env = environment(words_of(make_entry("vllm serve tiny"), "/made"), key="k", python=None, cards=None, base={})
    assert "CUDA_VISIBLE_DEVICES" not in env


def test_an_image(make_entry: Callable[..., Entry]) -> None:
    entry = make_entry(
        f"HF_TOKEN=hf_of_the_entry NCCL_DEBUG=INFO vllm serve org/m -tp 2 --api-key {DOCUMENTED}",
        id="a-b", vllm="0.33.0", fleet="2xH200", image=IMAGE.image,
    )  # fmt: skip
    base = {"HF_HOME": "/data/hf", "CUDA_VISIBLE_DEVICES": "0,1", "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin"}
    command = command_for(entry, IMAGE, port=4711, key="our-key", cards=[(0, "GPU-0"), (1, "GPU-1")], base=base)
    argv = command.argv
    name = argv[argv.index("--name") + 1]
    assert argv[:3] == ("/usr/bin/docker", "run", "--rm")
    assert name.startswith("qcmatrix-a-b-")
    assert argv[argv.index("--gpus") + 1] == '"device=GPU-0,GPU-1"'
    assert "--ipc=host" in argv
    assert argv[argv.index("-p") + 1] == "127.0.0.1:4711:4711"
    assert argv[argv.index("-v") + 1] == "/data/hf:/root/.cache/huggingface"
    given = [argv[index + 1] for index, word in enumerate(argv) if word == "-e"]
    assert {"VLLM_API_KEY", "HF_TOKEN", "NCCL_DEBUG=INFO", "HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1"} <= set(given)
    assert not [word for word in given if word.startswith("CUDA_")]
    assert not [word for word in argv if "our-key" in word or DOCUMENTED in word or "hf_of_the_entry" in word]
    assert argv[argv.index("--entrypoint") :] == (
        "--entrypoint", "vllm", IMAGE.image, "serve", "org/m", "-tp", "2", "--host", "0.0.0.0",  # noqa: S104
        "--port", "4711",
    )  # fmt: skip
    assert command.env["VLLM_API_KEY"] == "our-key"
    assert command.at_end == ("/usr/bin/docker", "kill", name)


@pytest.mark.parametrize("entry", read_matrix(MATRIX).entry, ids=lambda entry: entry.id)
def test_every_entry_of_the_matrix_has_its_command(entry: Entry) -> None:
    words = words_of(entry, "/made")
    assert words.name
    assert not {"--api-key", "--port", "--host"} & set(words.arguments)


def test_a_held_port_is_the_servers_and_nobody_elses() -> None:
    held = [HeldPort() for _ in range(50)]
    assert len({each.number for each in held}) == 50
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", held[0].number))
        server.listen()
        with socket.create_connection(("127.0.0.1", held[0].number), timeout=10):
            pass
    with socket.socket() as careless, pytest.raises(OSError, match="in use"):
        careless.bind(("127.0.0.1", held[1].number))
    for each in held:
        each.release()
        each.release()
