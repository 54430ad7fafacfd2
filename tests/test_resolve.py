"""What a launch becomes under a release, on a GPU. Figures: vLLM's ``EngineArgs`` of the release that is named."""

from __future__ import annotations

from typing import Any

import pytest

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.deployment import Deployment, RopeRequest, Speculation
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.parse import parse
from qcmatrix.launch.plain import environment_number
from qcmatrix.resolve import Resolver, online_quantization

NATIVE, MILLION = 262_144, 1_048_576
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": NATIVE}


def deploy(
    options: dict[str, Any] | None = None,
    *,
    release: str = "0.33.0",
    gpus: str = "8xH200",
    model: str = "480b-fp8",
    env: dict[str, str] | None = None,
) -> Deployment:
    launch = Launch("org/model", options or {}, env or {})
    return Resolver(load_release(release), parse_fleet(gpus)[0], find_checkpoint(model)).resolve(launch)


@pytest.mark.parametrize(
    ("release", "gpus", "tokens", "seqs"),
    [
        ("0.10.0", "8xH200", 8192, 1024),
        ("0.10.0", "8xA100-80", 2048, 256),
        ("0.10.0", "1x4090", 2048, 256),
        ("0.33.0", "8xH200", 8192, 1024),
        ("0.33.0", "8xB200", 16384, 1024),
        ("0.33.0", "1x4090", 2048, 256),
    ],
)
def test_scheduler_defaults_depend_on_the_gpu(release: str, gpus: str, tokens: int, seqs: int) -> None:
    made = deploy(release=release, gpus=gpus)
    assert (made.max_num_batched_tokens, made.max_num_seqs) == (tokens, seqs)


def test_given_limits_are_kept() -> None:
    made = deploy({"max_num_batched_tokens": 4096, "max_num_seqs": 16})
    assert (made.max_num_batched_tokens, made.max_num_seqs) == (4096, 16)


def test_sequences_are_cut_to_the_tokens_of_a_step() -> None:
    assert deploy({"max_num_batched_tokens": 128}).max_num_seqs == 128


def test_without_chunked_prefill_a_step_holds_the_context() -> None:
    assert deploy({"enable_chunked_prefill": False, "max_model_len": 65536}).max_num_batched_tokens == 65536
    early = deploy({"enable_chunked_prefill": False, "max_model_len": 65536}, release="0.10.0")
    assert early.enable_chunked_prefill  # the switch is ignored for generating models
    assert early.max_num_batched_tokens == 8192


@pytest.mark.parametrize(("release", "share"), [("0.10.0", 0.9), ("0.19.0", 0.9), ("0.22.0", 0.92), ("0.33.0", 0.92)])
def test_default_share_of_the_memory(release: str, share: float) -> None:
    assert deploy(release=release).gpu_memory_utilization == share


@pytest.mark.parametrize(("release", "gib"), [("0.10.0", 4.0), ("0.17.1", 4.0), ("0.18.0", None)])
def test_swap_space(release: str, gib: float | None) -> None:
    assert deploy(release=release).swap_space_gib == gib
    assert deploy({"swap_space": 0.0}, release=release).swap_space_gib == (None if gib is None else 0.0)


def test_context_is_native_when_not_asked_for() -> None:
    assert deploy().context == NATIVE
    assert deploy({"max_model_len": 4096}).context == 4096
    assert deploy({"max_model_len": -1}).context == NATIVE
    assert deploy({"max_model_len": -1}).max_model_len == -1


@pytest.mark.parametrize(
    ("release", "options", "form", "context"),
    [
        ("0.10.0", {"rope_scaling": YARN}, "rope-scaling", MILLION),
        ("0.11.2", {"hf_overrides": {"rope_scaling": YARN}}, "hf-overrides-rope-scaling", MILLION),
        ("0.12.0", {"hf_overrides": {"rope_scaling": YARN}}, "hf-overrides-rope-scaling", NATIVE),
        ("0.11.2", {"hf_overrides": {"rope_parameters": YARN}}, "hf-overrides-rope-parameters", NATIVE),
        ("0.12.0", {"hf_overrides": {"rope_parameters": YARN}}, "hf-overrides-rope-parameters", MILLION),
        ("0.30.0", {"hf_overrides": {"rope_parameters": YARN}}, "hf-overrides-rope-parameters", NATIVE),
        ("0.30.0", {"hf_overrides": {"rope_parameters": YARN, "max_position_embeddings": MILLION}},
         "hf-overrides-rope-parameters", MILLION),
        ("0.33.0", {"hf_overrides": {"max_position_embeddings": MILLION}}, "max-position-embeddings", MILLION),
        ("0.33.0", {"hf_overrides": {"text_config": {"max_position_embeddings": MILLION}}},
         "max-position-embeddings", MILLION),
        ("0.11.0", {"hf_overrides": {"rope_parameters": YARN, "rope_scaling": YARN}},
         "hf-overrides-rope-scaling", MILLION),
        ("0.15.0", {"hf_overrides": {"rope_parameters": YARN, "rope_scaling": YARN}},
         "hf-overrides-rope-parameters", MILLION),
    ],
)  # fmt: skip
def test_ways_of_asking_for_positions(release: str, options: dict[str, Any], form: str, context: int) -> None:
    made = deploy(options, release=release)
    assert made.rope is not None
    assert (made.rope.form, made.context) == (form, context)


def test_a_position_request_in_full() -> None:
    scaling = {**YARN, "rope_theta": 1e7}
    made = deploy({"hf_overrides": {"rope_parameters": scaling, "max_position_embeddings": MILLION}})
    assert made.rope == RopeRequest(
        form="hf-overrides-rope-parameters",
        rope_type="yarn",
        factor=4.0,
        original_max_position_embeddings=NATIVE,
        rope_theta=1e7,
        max_position_embeddings=MILLION,
    )
    assert made.override_keys == ("max_position_embeddings", "rope_parameters")
    by_flag = deploy({"rope_scaling": YARN, "rope_theta": 5e6}, release="0.10.0").rope
    assert by_flag is not None
    assert by_flag.rope_theta == 5e6


@pytest.mark.parametrize(
    "bad", ["text", {}, {"rope_parameters": "yarn"}, {"rope_parameters": {"factor": "four"}}, None]
)
def test_overrides_of_any_shape_are_survived(bad: Any) -> None:
    assert deploy({"hf_overrides": bad}).context == NATIVE


def test_quantization_in_effect() -> None:
    assert deploy({"quantization": "fp8"}).quantization == find_checkpoint("480b-fp8").quantization
    online = deploy({"quantization": "fp8"}, model="30b")
    assert (online.quantization.method, online.quantization.weight_bits, online.quantization.block) == ("fp8", 8, None)
    assert online.quantization_flag == "fp8"
    assert deploy({"quantization": "fp8_per_block"}, model="30b").quantization.block == (128, 128)
    published = find_checkpoint("30b").quantization
    assert online_quantization("made-up", published) == published
    assert deploy(model="30b").quantization_flag is None


def test_graph_settings() -> None:
    made = deploy(
        {"compilation_config": {"cudagraph_mode": "full_and_piecewise", "cudagraph_capture_sizes": [1, 2], "mode": 3}}
    )
    assert (made.cudagraph_mode, made.cudagraph_capture_sizes, made.compilation_mode) == (
        "FULL_AND_PIECEWISE",
        (1, 2),
        3,
    )
    assert made.cuda_graphs
    assert not deploy({"compilation_config": {"cudagraph_mode": "NONE"}}).cuda_graphs
    assert not deploy({"compilation_config": {"cudagraph_mode": 0}}).cuda_graphs
    assert not deploy({"enforce_eager": True}).cuda_graphs
    assert not deploy({"optimization_level": "0"}).cuda_graphs
    assert deploy({"cuda_graph_sizes": [64]}, release="0.10.0").max_cudagraph_capture_size == 64
    assert deploy({"cuda_graph_sizes": [1, 2]}, release="0.10.0").cudagraph_capture_sizes == (1, 2)
    both = deploy({"cudagraph_capture_sizes": [4], "compilation_config": {"cudagraph_capture_sizes": [1]}})
    assert both.cudagraph_capture_sizes == (4,)


def test_serving_attributes() -> None:
    made = deploy(
        {"served_model_name": ["a", "b"], "api_key": ["k"], "ssl_certfile": "c", "config": "x.yaml", "port": 80}
    )
    assert made.served_model_names == ("a", "b")
    assert (made.api_key_given, made.ssl_given, made.config_file, made.port) == (True, True, "x.yaml", 80)
    bare = deploy()
    assert bare.served_model_names == ("org/model",)
    assert (bare.api_key_given, bare.host, bare.port, bare.given) == (False, None, 8000, frozenset())


def test_environment() -> None:
    env = {"VLLM_PP_LAYER_PARTITION": "30,32", "VLLM_API_KEY": "k", "VLLM_ATTENTION_BACKEND": "flashinfer"}
    made = deploy(env=env, release="0.11.0")
    assert (made.pipeline_partition, made.api_key_in_env, made.attention_backend) == ((30, 32), True, "FLASHINFER")
    assert deploy(env={"VLLM_PP_LAYER_PARTITION": "x"}).pipeline_partition is None
    given = deploy({"attention_backend": "triton_attn"}, env=env, release="0.13.0")
    assert given.attention_backend == "TRITON_ATTN"


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), (" 8 ", 8), ("-1", -1), ("²", None), ("1.5", None), ("", None), ("true", None)]
)
def test_a_number_of_the_environment(text: str, number: int | None) -> None:
    assert environment_number({"VLLM_MAX_STOP_STRINGS": text}, "VLLM_MAX_STOP_STRINGS") == number
    assert environment_number({}, "VLLM_MAX_STOP_STRINGS") is None


def test_speculation() -> None:
    asked = {"method": "ngram", "num_speculative_tokens": 4}
    assert deploy({"speculative_config": asked}).speculation == Speculation(
        method="ngram", model=None, num_speculative_tokens=4
    )
    assert deploy({"spec_method": "mtp", "spec_tokens": 2}).speculation == Speculation(
        method="mtp", model=None, num_speculative_tokens=2
    )
    assert deploy().speculation is None


@pytest.mark.parametrize("release", ["0.10.0", "0.16.0", "0.33.0"])
def test_defaults_are_those_of_the_surface(release: str) -> None:
    made, surface = deploy(release=release), load_release(release).flag_by_dest
    computed = {"model", "max_num_seqs", "max_num_batched_tokens", "mamba_cache_mode", "optimization_level"}
    for name in set(Deployment.__struct_fields__) & set(surface) - computed:
        stated = surface[name].default
        if stated not in (None, ""):
            assert getattr(made, name) == stated, name


def test_an_option_without_a_value_leaves_the_default() -> None:
    assert deploy({"kv_cache_dtype": None, "swap_space": None, "quantization": None}) != deploy()
    assert deploy({"kv_cache_dtype": None}).kv_cache_dtype == "auto"


def test_what_rules_read_can_be_hashed() -> None:
    made = deploy(
        {"served_model_name": ["a"], "cudagraph_capture_sizes": [1], "hf_overrides": {"rope_parameters": YARN}},
        env={"VLLM_PP_LAYER_PARTITION": "1,2"},
    )
    fixed = {"release", "fleet", "gpu", "checkpoint", "architecture", "options", "env"}
    for name in set(Deployment.__struct_fields__) - fixed:
        hash(getattr(made, name))


def test_a_used_resolver_gives_what_a_new_one_gives() -> None:
    release, fleet, checkpoint = load_release("0.20.0"), parse_fleet("8xH20-141")[0], find_checkpoint("480b-fp8")
    words = ["vllm", "serve", "m", "-tp", "8", "--enable-expert-parallel", "--max-model-len", "128K"]
    launch = parse(words, release).launch
    used = Resolver(release, fleet, checkpoint)
    used.resolve(parse(["vllm", "serve", "m", "-tp", "4", "--max-num-seqs", "8"], release).launch)
    assert used.resolve(launch) == Resolver(release, fleet, checkpoint).resolve(launch)
    assert used.resolve(launch).context == 131_072


@pytest.mark.parametrize(
    ("vllm", "asked", "taken"),
    [
        ("0.16.0", "pplx", "pplx"),
        ("0.17.0", "pplx", "allgather_reducescatter"),
        ("0.18.1", "naive", "naive"),
        ("0.19.0", "naive", "allgather_reducescatter"),
    ],
)
def test_an_all_to_all_backend_that_is_gone_stands_for_the_default(vllm: str, asked: str, taken: str) -> None:
    assert deploy({"all2all_backend": asked}, release=vllm).all2all_backend == taken
