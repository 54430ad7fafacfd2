from __future__ import annotations

from qcmatrix.catalogue.releases import load_release
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.render import render, render_shell
from qcmatrix.launch.secrets import is_secret_name, redact, redact_argv

RELEASE = load_release("0.33.0")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 262144, "rope_theta": 1e7}
LAUNCH = Launch(
    "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8",
    {
        "port": 8001,
        "api_key": ["sk-very-secret"],
        "tool_call_parser": "qwen3_coder",
        "enable_auto_tool_choice": True,
        "hf_overrides": {"rope_parameters": YARN},
        "max_model_len": 1048576,
        "gpu_memory_utilization": 0.95,
        "enable_prefix_caching": False,
        "seed": 3,
        "enable_expert_parallel": True,
        "tensor_parallel_size": 8,
    },
    {"HF_TOKEN": "hf_secret", "VLLM_USE_DEEP_GEMM": "1"},
    ("--no-such-flag", "1"),
)

SHELL = """\
HF_TOKEN='***' \\
VLLM_USE_DEEP_GEMM=1 \\
vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 \\
  --tensor-parallel-size 8 \\
  --enable-expert-parallel \\
  --max-model-len 1048576 \\
  --gpu-memory-utilization 0.95 \\
  --no-enable-prefix-caching \\
  --hf-overrides '{"rope_parameters":{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":262144,"rope_theta":10000000.0}}' \\
  --enable-auto-tool-choice \\
  --tool-call-parser qwen3_coder \\
  --port 8001 \\
  --api-key '***' \\
  --seed 3 \\
  --no-such-flag 1"""  # noqa: E501


def test_shell_text_reads_well_and_hides_keys() -> None:
    assert render_shell(LAUNCH, RELEASE) == SHELL


def test_shell_text_can_show_keys() -> None:
    shown = render_shell(LAUNCH, RELEASE, show_secrets=True)
    assert "hf_secret" in shown
    assert "sk-very-secret" in shown


def test_short_commands_stay_on_one_line() -> None:
    assert render_shell(Launch("M", {"port": 1}, {"A": "b c"}), RELEASE) == "A='b c' vllm serve M --port 1"


def test_an_option_that_the_release_lacks_is_spelled_by_its_dest() -> None:
    words = render(Launch("M", {"swap_space": 8.0, "made_up": False}), RELEASE)
    assert words == ("vllm", "serve", "M", "--swap-space", "8", "--no-made-up")


def test_values_that_look_like_options_are_joined() -> None:
    assert render(Launch("M", {"chat_template": "-x"}), RELEASE)[3:] == ("--chat-template=-x",)


def test_a_stray_word_does_not_become_a_value() -> None:
    words = render(Launch("M", {"served_model_name": ["a"]}, unknown=("true",)), RELEASE)
    assert words == ("vllm", "serve", "M", "true", "--served-model-name", "a")


def test_a_switch_without_a_negation_is_left_out_when_false() -> None:
    assert render(Launch("M", {"headless": False}), RELEASE) == ("vllm", "serve", "M")


def test_secrets_are_masked_everywhere() -> None:
    launch = Launch(
        "M",
        {"api_key": "k", "hf_token": True, "kv_transfer_config": {"extra": [{"access_key": "k", "port": 1}]}},
        {"VLLM_API_KEY": "k", "AWS_SECRET_ACCESS_KEY": "k", "MAX_TOKENS": "5"},
        ("--api-key", "k", "--other", "k", "--my-token=k"),
    )
    hidden = redact(launch)
    assert hidden.options == {
        "api_key": "***",
        "hf_token": True,
        "kv_transfer_config": {"extra": [{"access_key": "***", "port": 1}]},
    }
    assert hidden.env == {"VLLM_API_KEY": "***", "AWS_SECRET_ACCESS_KEY": "***", "MAX_TOKENS": "5"}
    assert hidden.unknown == ("--api-key", "***", "--other", "k", "--my-token=***")


def test_words_are_masked() -> None:
    given = "HF_TOKEN=x vllm serve M --api-key a b --api_key=c --port 1 --max-num-batched-tokens 5"
    shown = "HF_TOKEN=*** vllm serve M --api-key *** *** --api_key=*** --port 1 --max-num-batched-tokens 5"
    assert redact_argv(given.split()) == tuple(shown.split())


def test_names_of_secrets() -> None:
    assert is_secret_name("--api-key")
    assert is_secret_name("HUGGING_FACE_HUB_TOKEN")
    assert not is_secret_name("--return-token")
    assert not is_secret_name("max_token")
    assert not is_secret_name("tokenizer")
