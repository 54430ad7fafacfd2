"""Client configurations, against the server that stands beside them."""

from __future__ import annotations

import pytest

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.clients.judge import judge_client, server_of
from qcmatrix.clients.read import read_clients
from qcmatrix.lint.run import lint_text
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.rules.declare import Severity

SERVER = (
    "vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --served-model-name qwen3-coder --port 30000 "
    "--max-model-len 131072 --enable-auto-tool-choice --tool-call-parser qwen3_coder"
)
ZED_MODELS = """{// a comment
"language_models": {"openai_compatible": {"v": {"api_url": "http://localhost:30000/v1",
"available_models": [{"name": "qwen3-coder", "max_tokens": 262144}]}}}}"""
ZED_PREDICTION = """{"edit_predictions": {"open_ai_compatible_api": {
"api_url": "http://localhost:30000/v1/completions", "model": "qwen3-coder", "prompt_format": "qwen"}}}"""
CONTINUE = """\
name: x
version: 0.0.1
schema: v1
models:
  - name: Coder
    provider: openai
    model: qwen3-coder
    apiBase: http://localhost:30000/v1
    maxStopWords: 4
    defaultCompletionOptions:
      contextLength: 131072
      maxTokens: 1024
    roles: [chat, autocomplete]
    capabilities: [tool_use]
    promptTemplates:
      autocomplete: "<|fim_prefix|>{{{prefix}}}<|fim_suffix|>{{{suffix}}}<|fim_middle|>"
"""


def rules(config: str, server: str | None = SERVER, path: str = "config.yaml", release: str = "0.33.0") -> set[str]:
    return {rule for rule, _ in severities(config, server, path, release)}


def severities(
    config: str, server: str | None = SERVER, path: str = "config.yaml", release: str = "0.33.0"
) -> set[tuple[str, Severity]]:
    wishes = Wishes(fleets=parse_fleet("8xH200"), release=load_release(release))
    judged = lint_text("serve.sh", server, wishes, Settings()).judged if server else ()
    return {
        (finding.rule, finding.severity)
        for client in read_clients(path, config, None)
        for finding in judge_client(client, server_of(client, judged))
    }


def test_a_right_one_has_no_finding() -> None:
    assert rules(CONTINUE) == set()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("http://localhost", "https://localhost", "client-https-against-http"),
        (":30000/v1", ":8000/v1", "client-port-differs"),
        (":30000/v1", ":30000", "client-url-without-version"),
        ("contextLength: 131072", "contextLength: 262144", "client-context-over-server"),
        ("maxTokens: 1024", "maxTokens: 131072", "client-max-tokens-over-server"),
        ("model: qwen3-coder", "model: other-coder-qwen", "client-model-name-differs"),
        ("    maxStopWords: 4\n", "", "client-stop-words-over-limit"),
        ('"<|fim_prefix|>', '"`<|fim_prefix|>', "client-template-with-backticks"),
        ("<|fim_middle|>", "", "client-template-without-markers"),
        (
            "<|fim_prefix|>{{{prefix}}}<|fim_suffix|>{{{suffix}}}",
            "<|fim_suffix|>{{{suffix}}}<|fim_prefix|>{{{prefix}}}",
            "client-template-out-of-order",
        ),
        ("    provider: openai\n", "    provider: openai\n    apiKey: abcdef123456\n", "client-key-in-file"),
        (
            "    provider: openai\n",
            "    provider: openai\n    useLegacyCompletionsEndpoint: false\n",
            "client-fim-as-chat",
        ),
    ],
)
def test_one_mistake_is_one_finding(old: str, new: str, rule: str) -> None:
    assert old in CONTINUE
    assert rules(CONTINUE.replace(old, new)) == {rule}


def test_a_name_that_gets_another_template() -> None:
    head, _, _ = CONTINUE.partition("    promptTemplates")
    named = head.replace("model: qwen3-coder", "model: flash")
    assert rules(named, SERVER.replace("--served-model-name qwen3-coder", "--served-model-name flash")) == {
        "client-template-by-name"
    }
    assert rules(head) == set()


def test_a_chat_template_that_is_applied_twice() -> None:
    chat = CONTINUE.replace('"<|fim_prefix|>', '"<|im_start|>user <|fim_prefix|>').replace(
        "    provider: openai\n", "    provider: openai\n    useLegacyCompletionsEndpoint: false\n"
    )
    assert rules(chat) == {"client-chat-template-doubled"}


def test_tools_and_keys_of_the_server() -> None:
    bare = SERVER.replace(" --enable-auto-tool-choice --tool-call-parser qwen3_coder", "")
    assert rules(CONTINUE, bare) == {"client-tools-not-served"}
    assert rules(CONTINUE, f"VLLM_API_KEY=abc {SERVER}") == {"client-without-key"}


def test_stop_strings_are_limited_from_0_28_on_and_the_server_may_take_more() -> None:
    without = CONTINUE.replace("    maxStopWords: 4\n", "")
    assert rules(without, release="0.27.1") == set()
    assert rules(without, release="0.28.0") == {"client-stop-words-over-limit"}
    assert rules(without, f"VLLM_MAX_STOP_STRINGS=16 {SERVER}") == set()


@pytest.mark.parametrize(
    ("own", "template", "severity"),
    [
        ([], True, Severity.WARNING),  # three are sent; an older Continue sent five
        (["a", "b"], True, Severity.ERROR),
        ([], False, Severity.ERROR),  # twelve of the template that the name chooses
    ],
)
def test_how_many_stop_strings_are_sent(own: list[str], template: bool, severity: Severity) -> None:
    config = CONTINUE.replace("    maxStopWords: 4\n", "")
    config = config.replace("      maxTokens: 1024\n", f"      maxTokens: 1024\n      stop: {own}\n")
    if not template:
        config = config.partition("    promptTemplates")[0]
    assert severities(config) == {("client-stop-words-over-limit", severity)}


def test_a_chat_sends_the_stop_strings_of_its_configuration() -> None:
    chat = CONTINUE.partition("    promptTemplates")[0].replace("    maxStopWords: 4\n", "")
    chat = chat.replace("[chat, autocomplete]", "[chat]")
    assert severities(chat) == set()
    many = chat.replace("      maxTokens: 1024\n", "      maxTokens: 1024\n      stop: [a, b, c, d, e]\n")
    assert severities(many) == {("client-stop-words-over-limit", Severity.ERROR)}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ('{"llama-vscode.endpoint": "http://localhost:30000"}', {"client-needs-infill"}),
        ('{"llama-vscode.endpoint": "http://localhost:30000", "llama-vscode.use_openai_endpoint": true,}', set()),
        (
            ZED_MODELS,
            {"client-context-over-server"},
        ),
        (
            ZED_PREDICTION,
            set(),
        ),
    ],
)
def test_settings_of_editors(settings: str, found: set[str]) -> None:
    assert rules(settings, path="settings.json") == found


@pytest.mark.parametrize(
    ("name", "form", "found"),
    [
        ("qwen3-coder", "qwen", set()),
        ("qwen3-coder", None, {"client-template-by-name"}),
        ("qwen3-coder", "infer", {"client-template-by-name"}),
        ("qwen3-coder", "star_coder", {"client-template-by-name"}),
        ("qwen-coder", None, set()),
        ("qwen2.5-coder:7b", "infer", set()),
        ("qwen2.5-coder-7b", None, {"client-template-by-name"}),  # the whole name, not its beginning
    ],
)
def test_zed_infers_the_format_of_few_names(name: str, form: str | None, found: set[str]) -> None:
    settings = ZED_PREDICTION.replace("qwen3-coder", name)
    settings = settings.replace(', "prompt_format": "qwen"', f', "prompt_format": "{form}"' if form else "")
    assert (
        rules(
            settings, SERVER.replace("--served-model-name qwen3-coder", f"--served-model-name {name}"), "settings.json"
        )
        == found
    )


def test_a_base_url_of_the_environment() -> None:
    assert rules("OPENAI_BASE_URL=https://localhost:30000/v1\n", path=".env") == {"client-https-against-http"}
    assert rules("OPENAI_BASE_URL=http://localhost:30000/v1\n", path=".env") == set()
    assert rules("OPENAI_BASE_URL=https://api.openai.com/v1\n", None, path=".env") == set()


def test_values_stand_where_they_stand() -> None:
    """In a file with a byte order mark, in a block that breaks off, behind a character that ends no line."""
    marked = f"\ufeff{CONTINUE}"
    fenced = f"# a\n\n```yaml\n# \x85\n{CONTINUE}```\n"
    for path, text, kind in (("config.yaml", marked, "yaml"), ("readme.md", fenced, "markdown")):
        (client,) = read_clients(path, text, kind)
        assert client.base_url is not None
        assert text[client.base_url.start : client.base_url.stop] == client.base_url.text
    broken = "# Use\n\n```yaml\nmodels:\n  - provider: openai\n    apiBase:"
    (client,) = read_clients("readme.md", broken, "markdown")
    assert client.base_url is not None
    assert client.base_url.start == len(broken)


def test_a_model_without_a_name_has_none() -> None:
    (client,) = read_clients("config.yaml", "models:\n  - provider: openai\n    apiBase: http://h/v1\n", "yaml")
    assert client.place.text == ""
