from __future__ import annotations

import pytest

from qcmatrix.errors import RequestError
from qcmatrix.launch.command import Form, locate
from qcmatrix.launch.launch import Span

OPTIONS = "--model org/model --port 1"
MODULE = "vllm.entrypoints.openai.api_server"


@pytest.mark.parametrize(
    ("text", "form", "start", "env", "hint"),
    [
        (f"vllm serve {OPTIONS}", Form.SERVE, 2, {}, None),
        (f"serve {OPTIONS}", Form.SERVE, 1, {}, None),
        (f"/usr/local/bin/vllm serve {OPTIONS}", Form.SERVE, 2, {}, None),
        (OPTIONS, Form.OPTIONS, 0, {}, None),
        (f"org/model {OPTIONS}", Form.OPTIONS, 0, {}, None),
        (f"A=1 B= vllm serve {OPTIONS}", Form.SERVE, 4, {"A": "1", "B": ""}, None),
        (f"env -u X A=1 vllm serve {OPTIONS}", Form.SERVE, 6, {"A": "1"}, None),
        (f"nohup sudo -E exec vllm serve {OPTIONS}", Form.SERVE, 6, {}, None),
        (f"uv run --with vllm==0.11.2 vllm serve {OPTIONS}", Form.SERVE, 6, {}, "0.11.2"),
        (f"uvx vllm@0.30.0 vllm serve {OPTIONS}", Form.SERVE, 4, {}, "0.30.0"),
        (f"A=0,1 python3 -m {MODULE} {OPTIONS}", Form.MODULE, 4, {"A": "0,1"}, None),
        (f"python -u -m {MODULE} {OPTIONS}", Form.MODULE, 4, {}, None),
        (f"docker run --gpus all -it --rm -p 80:80 -e A=1 --env=B=2 -eC=3 -v/x:/y --ipc host i/vllm:v0.11.2 {OPTIONS}",
         Form.CONTAINER, 16, {"A": "1", "B": "2", "C": "3"}, "0.11.2"),
        (f"sudo podman run vllm/vllm-openai:latest {OPTIONS}", Form.CONTAINER, 4, {}, None),
        (f"docker run vllm/vllm-openai:v0.33.0rc1 {OPTIONS}", Form.CONTAINER, 3, {}, "0.33.0rc1"),
        (f"docker container run me/vllm:0.20.0-cu128 {OPTIONS}", Form.CONTAINER, 4, {}, "0.20.0"),
        (f"docker run me/img vllm serve {OPTIONS}", Form.SERVE, 5, {}, None),
        (f"docker run me/img python3 -m {MODULE} {OPTIONS}", Form.MODULE, 6, {}, None),
        (f"docker run --entrypoint vllm me/img serve {OPTIONS}", Form.SERVE, 6, {}, None),
        (f"X=1 docker run me/img {OPTIONS}", Form.CONTAINER, 4, {}, None),
    ],
)  # fmt: skip
def test_forms(text: str, form: Form, start: int, env: dict[str, str], hint: str | None) -> None:
    words = text.split()
    command = locate(words)
    assert (command.form, command.release_hint, dict(command.env)) == (form, hint, env)
    assert command.arguments == tuple(enumerate(words))[start:]


@pytest.mark.parametrize(
    ("gpus", "devices"),
    [
        (["--gpus", "all"], None),
        (["--gpus=all"], None),
        (["--gpus", '"device=0,1"'], "0,1"),
        (["--gpus", "device=3"], "3"),
        (["--gpus", '"device=GPU-1a,GPU-2b,capabilities=utility"'], "GPU-1a,GPU-2b"),
        (["--gpus=2"], "0,1"),
        (["--gpus", "2", "-e", "NVIDIA_VISIBLE_DEVICES=5"], "5"),
    ],
)
def test_gpus_that_a_container_sees(gpus: list[str], devices: str | None) -> None:
    command = locate(["docker", "run", *gpus, "vllm/vllm-openai", "-tp", "8"])
    assert command.env.get("NVIDIA_VISIBLE_DEVICES") == devices


def test_spans_of_the_environment() -> None:
    command = locate(["docker", "run", "-e", "A=1", "--env=B=2", "-e", "HF_TOKEN", "vllm/vllm-openai", "-tp", "8"])
    assert command.env_spans == {"A": Span(2, 4), "B": Span(4, 5)}


@pytest.mark.parametrize(
    "text", ["", "vllm bench latency", "vllm", "nohup nothing", "docker run", "docker run --gpus all", "A=1"]
)
def test_no_server_is_one_clear_message(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        locate(text.split())
    assert caught.value.what
