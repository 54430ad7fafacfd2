from __future__ import annotations

from typing import Any

import pytest

from qcmatrix.catalogue.releases import load_release
from qcmatrix.launch.launch import Launch, Span
from qcmatrix.launch.parse import closest_names, parse
from qcmatrix.launch.parsed import Parsed, Problem, ProblemKind

SERVE = ["vllm", "serve", "org/model"]


def serve(*words: str, release: str = "0.33.0") -> Parsed:
    return parse([*SERVE, *words], load_release(release))


def only(parsed: Parsed) -> Problem:
    (problem,) = parsed.problems
    return problem


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["-tp", "8"], {"tensor_parallel_size": 8}),
        (["-tp=8"], {"tensor_parallel_size": 8}),
        (["--tensor_parallel_size=8"], {"tensor_parallel_size": 8}),
        (["--tensor-parallel", "8"], {"tensor_parallel_size": 8}),
        (["-t", "8"], {"tensor_parallel_size": 8}),
        (["-n2"], {"nnodes": 2}),
        (["-qfp8"], {"quantization": "fp8"}),
        (["--gpu-memory-utilization", ".95"], {"gpu_memory_utilization": 0.95}),
        (["--max-model-len", "200k"], {"max_model_len": 200_000}),
        (["--max-model-len", "256K"], {"max_model_len": 262_144}),
        (["--max-model-len", "25.6k"], {"max_model_len": 25_600}),
        (["--max-model-len", "-1"], {"max_model_len": -1}),
        (["--max-model-len", "auto"], {"max_model_len": -1}),
        (["--max-model-len", "1M"], {"max_model_len": 1_048_576}),
        (["--enable-expert-parallel"], {"enable_expert_parallel": True}),
        (["--no-enable-prefix-caching"], {"enable_prefix_caching": False}),
        (["--served-model-name", "a", "b", "--port", "1"], {"served_model_name": ["a", "b"], "port": 1}),
        (["--quantization", "None"], {"quantization": None}),
        (["-O3"], {"optimization_level": "3"}),
        (["--middleware", "a", "--middleware", "b"], {"middleware": ["a", "b"]}),
        (["--hf-token"], {"hf_token": True}),
        (["--hf-overrides", '{"a": [1, null]}'], {"hf_overrides": {"a": [1, None]}}),
        (["--kv-transfer-config", '{"cpu_bytes_to_use": 80m, "k": "80m"}'],
         {"kv_transfer_config": {"cpu_bytes_to_use": 80_000_000, "k": "80m"}}),
        (["--hf_overrides.rope_parameters.factor", "4", "--hf-overrides.rope_parameters.rope_type", "yarn"],
         {"hf_overrides": {"rope_parameters": {"factor": 4, "rope_type": "yarn"}}}),
        (["-cc.cudagraph_capture_sizes+", "1,2", "-cc.cudagraph_capture_sizes+=4"],
         {"compilation_config": {"cudagraph_capture_sizes": ["1", "2", "4"]}}),
    ],
)  # fmt: skip
def test_ways_of_writing_an_option(words: list[str], options: dict[str, Any]) -> None:
    parsed = serve(*words)
    assert parsed.launch == Launch("org/model", options)
    assert not parsed.problems


@pytest.mark.parametrize(
    ("release", "words", "options"),
    [
        ("0.11.0", ["-O3"], {"compilation_config": {"level": 3}}),
        ("0.11.1", ["-O3"], {"compilation_config": {"mode": 3}}),
        ("0.11.2", ["-O", "2"], {"compilation_config": {"mode": 2}}),
        ("0.11.2", ["-O", '{"mode": 2}'], {"compilation_config": {"mode": 2}}),
        ("0.12.0", ["-O3"], {"optimization_level": "3"}),
        ("0.12.0", ["-O.mode=3"], {"compilation_config": {"mode": 3}}),
        ("0.12.0", ["-O", "1"], {"optimization_level": "1"}),
        ("0.19.0", ["--hf-overrides.x", "80g"], {"hf_overrides": {"x": "80g"}}),
        ("0.20.0", ["--hf-overrides.x", "80g"], {"hf_overrides": {"x": 80_000_000_000}}),
        ("0.10.0", ["--rope-scaling", '{"rope_type": "yarn"}'], {"rope_scaling": {"rope_type": "yarn"}}),
        ("0.10.0", ["--api-key", "k"], {"api_key": "k"}),
        ("0.11.0", ["--api-key", "k", "l"], {"api_key": ["k", "l"]}),
        ("0.33.0", ["--disable-expert-parallel"], {"enable_expert_parallel": False}),
    ],
)
def test_what_differs_between_releases(release: str, words: list[str], options: dict[str, Any]) -> None:
    parsed = serve(*words, release=release)
    assert parsed.launch.options == options
    assert not parsed.problems


@pytest.mark.parametrize(
    ("release", "words", "kind", "text"),
    [
        ("0.33.0", ["-tp", "eight"], ProblemKind.BAD_VALUE, "--tensor-parallel-size/-tp: invalid int value: 'eight'"),
        ("0.33.0", ["--max-model-len", "1Mb"], ProblemKind.BAD_VALUE, "human_readable_int_or_auto value: '1Mb'"),
        ("0.13.0", ["--max-model-len", "auto"], ProblemKind.BAD_VALUE, "invalid human_readable_int value: 'auto'"),
        ("0.12.0", ["--max-model-len", "1t"], ProblemKind.BAD_VALUE, "'1t'"),
        ("0.33.0", ["--max-model-len", "1.5K"], ProblemKind.BAD_VALUE, "Did you mean to use 1.5k instead?"),
        ("0.33.0", ["--enforce-eager=true"], ProblemKind.BAD_VALUE, "ignored explicit argument 'true'"),
        ("0.33.0", ["--enforce-eager", "true"], ProblemKind.STRAY_WORD, "unrecognized arguments: true"),
        ("0.33.0", ["--port"], ProblemKind.MISSING_VALUE, "argument --port: expected one argument"),
        ("0.33.0", ["--port", "--enforce-eager"], ProblemKind.MISSING_VALUE, "expected one argument"),
        ("0.33.0", ["--served-model-name"], ProblemKind.MISSING_VALUE, "expected at least one argument"),
        ("0.33.0", ["--hf-overrides.x"], ProblemKind.MISSING_VALUE, "a dotted option without a value"),
        ("0.33.0", ["--max", "4"], ProblemKind.AMBIGUOUS_FLAG, "ambiguous option: --max could match"),
        ("0.33.0", ["-tp8"], ProblemKind.UNKNOWN_FLAG, "unrecognized arguments: -tp8"),
        ("0.33.0", ["-O.mode=3", "-O"], ProblemKind.UNKNOWN_FLAG, "unrecognized arguments: -O"),
        ("0.33.0", ["--swap-space", "8"], ProblemKind.UNKNOWN_FLAG, "unrecognized arguments: --swap-space 8"),
        ("0.33.0", ["--model", "other"], ProblemKind.MODEL_OPTION, "provide the model as a positional argument"),
        ("0.33.0", ["--kv-transfer-config", "{1}"], ProblemKind.BAD_VALUE, "cannot be converted"),
        ("0.33.0", ["--config", "a.json"], ProblemKind.CONFIG_FILE, "must be of a yaml/yml type. json supplied"),
    ],
)  # fmt: skip
def test_problems_in_the_words_of_vllm(release: str, words: list[str], kind: ProblemKind, text: str) -> None:
    problem = next(problem for problem in serve(*words, release=release).problems if problem.kind is kind)
    assert text in problem.text


def test_a_wrong_choice_has_its_closest_match() -> None:
    problem = only(serve("--kv-cache-dtype", "fp8_e4m4", release="0.11.0"))
    assert (problem.kind, problem.refused) == (ProblemKind.BAD_CHOICE, True)
    assert problem.closest[0] == "fp8_e4m3"
    assert problem.span == Span(3, 5)


def test_what_is_not_known_is_kept_in_order_with_its_values() -> None:
    parsed = serve("--foo", "1", "2", "--port", "80", "--enable-expert-paralel", "--bar=x")
    assert parsed.launch.unknown == ("--foo", "1", "2", "--enable-expert-paralel", "--bar=x")
    assert parsed.launch.options == {"port": 80}
    assert [problem.span for problem in parsed.problems] == [Span(3, 6), Span(8, 9), Span(9, 10)]
    assert parsed.problems[1].closest[0] == "--enable-expert-parallel"


def test_dotted_options_that_are_not_known_are_kept_as_given() -> None:
    parsed = serve("--rope-scaling.factor", "4", "--rope-scaling.rope_type=yarn")
    assert parsed.launch.unknown == ("--rope-scaling.factor", "4", "--rope-scaling.rope_type=yarn")
    assert only(parsed).span == Span(3, 6)


def test_the_last_one_wins_and_is_said() -> None:
    parsed = serve("--port", "1", "--port", "2")
    assert parsed.launch.options == {"port": 2}
    assert parsed.spans["port"] == Span(5, 7)
    problem = only(parsed)
    assert (problem.kind, problem.refused) == (ProblemKind.REPEATED_FLAG, False)


def test_dotted_options_replace_the_json_of_the_same_option() -> None:
    parsed = serve("--hf-overrides.a", "1", "--hf-overrides", '{"b": 2}')
    assert parsed.launch.options == {"hf_overrides": {"a": 1}}  # they are moved behind everything else
    assert only(parsed).kind is ProblemKind.DOTTED_REPLACES_JSON


@pytest.mark.parametrize("refused", [("0.11.0", True), ("0.11.1", False), ("0.33.0", False)])
def test_model_as_an_option(refused: tuple[str, bool]) -> None:
    release, stops = refused
    parsed = parse(["vllm", "serve", "--model", "org/model", "-tp", "2"], load_release(release))
    assert parsed.launch == Launch("org/model", {"tensor_parallel_size": 2})
    assert parsed.model_span == Span(2, 4)
    assert (only(parsed).kind, only(parsed).refused) == (ProblemKind.MODEL_OPTION, stops)


@pytest.mark.parametrize(("release", "stops"), [("0.16.0", False), ("0.17.0", True)])
def test_served_name_without_a_model_in_front(release: str, stops: bool) -> None:
    parsed = parse(["vllm", "serve", "--served-model-name", "a", "--port", "1", "org/model"], load_release(release))
    assert parsed.launch.model == "org/model"
    assert bool([problem for problem in parsed.problems if problem.refused]) is stops


def test_no_model() -> None:
    parsed = parse(["vllm", "serve", "--port", "1"], load_release("0.33.0"))
    assert parsed.launch.model == ""
    assert parsed.model_span is None
    assert (only(parsed).kind, only(parsed).refused) == (ProblemKind.NO_MODEL, False)


def test_a_model_behind_an_unknown_option() -> None:
    parsed = parse(["vllm", "serve", "--foo", "3", "org/model"], load_release("0.33.0"))
    assert (parsed.launch.model, parsed.launch.unknown) == ("org/model", ("--foo", "3"))


def test_the_module_ignores_a_lone_word() -> None:
    words = ["python", "-m", "vllm.entrypoints.openai.api_server", "org/model"]
    problem = only(parse(words, load_release("0.33.0")))
    assert (problem.kind, problem.refused) == (ProblemKind.MODEL_IGNORED, False)


def test_a_word_behind_a_switch_is_not_the_model() -> None:
    words = ["docker", "run", "vllm/vllm-openai", "--model", "org/model", "--enable-expert-parallel", "true"]
    parsed = parse(words, load_release("0.33.0"))
    assert parsed.launch.model == "org/model"
    assert only(parsed).kind is ProblemKind.STRAY_WORD


def test_a_variable_that_is_not_set() -> None:
    problem = only(serve("--port", "${PORT}"))
    assert (problem.kind, problem.refused) == (ProblemKind.UNEXPANDED, False)


def test_options_in_a_file() -> None:
    assert serve("--config", "a.yaml").launch.options == {"config": "a.yaml"}
    with_equals = only(serve("--config=a.yaml"))
    assert "with a space" in with_equals.text


def test_environment_of_the_words_wins() -> None:
    parsed = parse(["A=1", "B=2", *SERVE], load_release("0.33.0"), env={"A": "0", "C": "3"})
    assert parsed.launch.env == {"A": "1", "B": "2", "C": "3"}
    assert parsed.env_spans == {"A": Span(0, 1), "B": Span(1, 2)}


def test_closest_names() -> None:
    release = load_release("0.33.0")
    assert closest_names("--tensor_paralel_size=8", release)[0] == "--tensor-parallel-size"
    assert closest_names("--qqqqqqqq", release) == ()


@pytest.mark.parametrize("word", ["FLASHINFER_CUTLASS", "flashinfer-cutlass", "flashinfer_cutlass"])
def test_a_backend_of_experts_is_read_in_lower_case_with_underscores(word: str) -> None:
    parsed = parse(("vllm", "serve", "m", "--moe-backend", word), load_release("0.22.0"))
    assert parsed.launch.options == {"moe_backend": "flashinfer_cutlass"}
    assert not parsed.problems


def test_a_backend_of_attention_is_read_as_it_stands() -> None:
    flag = load_release("0.33.0").flag_by_dest["attention_backend"]
    assert not flag.folded
