"""The configuration that we write for Continue: our own judge finds nothing wrong with it."""

from __future__ import annotations

import pytest
import yaml

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.clients.emit import FimForm, continue_config
from qcmatrix.clients.judge import judge_client, server_of
from qcmatrix.clients.read import read_clients
from qcmatrix.errors import RequestError
from qcmatrix.lint.run import lint_text
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes


def findings(config: str, server: str, release: str = "0.33.0") -> set[str]:
    wishes = Wishes(fleets=parse_fleet("8xH200"), release=load_release(release))
    judged = lint_text("serve.sh", server, wishes, Settings()).judged
    clients = read_clients("config.yaml", config, None)
    assert [client.completes for client in clients] == [False, True]
    return {found.rule for client in clients for found in judge_client(client, server_of(client, judged))}


@pytest.mark.parametrize("form", FimForm)
@pytest.mark.parametrize("name", ["qwen3-coder", "flash"])
@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize("key", ["", "VLLM_KEY"])
@pytest.mark.parametrize("release", ["0.27.1", "0.33.0"])
def test_it_has_no_finding(form: FimForm, name: str, tools: bool, key: str, release: str) -> None:
    server = (
        f"{'VLLM_API_KEY=$KEY ' if key else ''}vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --port 30000 "
        f"--served-model-name {name} --max-model-len 131072"
        f"{' --enable-auto-tool-choice --tool-call-parser qwen3_coder' if tools else ''}"
    )
    config = continue_config(
        served_name=name,
        base_url="http://localhost:30000",
        context=131072,
        tools=tools,
        form=form,
        api_key_secret=key,
    )
    assert findings(config, server, release) == set()


def test_what_it_says() -> None:
    config = yaml.safe_load(
        continue_config(served_name="qwen3-coder", base_url="http://h:8000/v1/", context=32768, tools=True)
    )
    chat, completion = config["models"]
    assert config["schema"] == "v1"
    assert chat["apiBase"] == completion["apiBase"] == "http://h:8000/v1"
    assert chat["capabilities"] == ["tool_use"]
    assert completion["maxStopWords"] == 4
    assert "promptTemplates" not in completion
    assert 151660 in completion["requestOptions"]["extraBodyProperties"]["stop_token_ids"]


def test_a_name_that_gets_another_template_gets_ours() -> None:
    config = continue_config(served_name="flash", base_url="http://h/v1", context=32768, tools=False)
    template = yaml.safe_load(config)["models"][1]["promptTemplates"]["autocomplete"]
    assert template == "<|fim_prefix|>{{{prefix}}}<|fim_suffix|>{{{suffix}}}<|fim_middle|>"


def test_turns_are_closed_and_hold_no_back_ticks() -> None:
    config = continue_config(
        served_name="qwen3-coder", base_url="http://h/v1", context=32768, tools=False, form=FimForm.TURNS
    )
    template = yaml.safe_load(config)["models"][1]["promptTemplates"]["autocomplete"]
    assert template.count("<|im_start|>") == template.count("<|im_end|>") + 1 == 3
    assert template.endswith("<|im_start|>assistant\n")
    assert "`" not in template


@pytest.mark.parametrize(
    ("name", "url", "context", "says"),
    [
        ("", "http://h", 4096, "served name"),
        ("qwen3-coder", "localhost:8000", 4096, "base URL"),
        ("qwen3-coder", "http://h", 100, "no room"),
    ],
)
def test_what_cannot_be_written(name: str, url: str, context: int, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        continue_config(served_name=name, base_url=url, context=context, tools=False)
