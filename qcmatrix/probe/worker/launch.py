"""What a release makes of a ``vllm serve`` command on the asked card: its words of refusal, or the resolved values.

The stages, in the release's own order::

    parse        argparse
    serve-args   the command's quick checks, and the choice between one server, several and none
    tools        the server's: does the tool parser exist?
    engine-args  AsyncEngineArgs.from_cli_args
    config       create_engine_config: everything that is decided from the model's config and the card
    weights      the layers of the first rank, made on the meta device (only with "weights": true)
    ok
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from qcmatrix_worker import configs, excuses, groups, pretend, resolved, serve_command, stand_ins

__all__ = ["HANDLERS"]

MODEL = "{model}"
_LAYERS = 4
"""Kept of each pipeline stage for the weights: a hybrid model's pattern repeats after four."""
_MOST_TEXT = 4000
_last_environment: dict[str, str] = {}


def answer_launch(question: dict[str, Any]) -> dict[str, Any]:
    """``{"stage", "error"?, "resolved"?, "not_asked", "not_askable"?}`` for the launch."""
    groups.ready()
    serve_command.serve_parser()  # what cannot be imported is no answer about the launch
    gpu = question.get("gpu") or {}
    pretend.set_card(**{name: gpu[name] for name in ("name", "capability", "memory_bytes", "count") if name in gpu})
    found: dict[str, Any] = {"stage": "parse", "not_asked": []}
    before = _set_environment(question.get("env") or {})
    try:
        _run(question, found)
    except Exception as error:  # the release's own refusal is the answer
        if _is_ours(error):
            raise
        text = _text(error, question)
        found["error"] = {"type": type(error).__name__, "text": text}
        if (why := excuses.why_not(type(error).__name__, text)) is not None:
            found["not_askable"] = why
    finally:
        os.environ.clear()
        os.environ.update(before)
    return found


def _run(question: dict[str, Any], found: dict[str, Any]) -> None:
    """Go through the stages; ``found`` says how far it came."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    folder = configs.folder(question["config"])
    argv = [text.replace(MODEL, folder) for text in question["argv"]]
    if not question.get("tokenizer"):
        argv.append("--skip-tokenizer-init")
    args = serve_command.parse(argv)
    given = {"max_num_batched_tokens": args.max_num_batched_tokens, "max_num_seqs": args.max_num_seqs}
    found["stage"] = "serve-args"
    started = serve_command.dispatch(args)
    if started == "run_headless":
        found["not_asked"].append("what a headless node checks once it starts its engines")
    else:
        found["stage"] = "tools"
        serve_command.validate_server(args)
    found["stage"] = "engine-args"
    engine_args = AsyncEngineArgs.from_cli_args(args)
    if started == "run_multi_api_server" and hasattr(engine_args, "_api_process_count"):
        engine_args._api_process_count, engine_args._api_process_rank = args.api_server_count, -1
    found["stage"] = "config"
    vllm_config = engine_args.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
    values = resolved.values(vllm_config, args, given)
    for name in ("served_model_name", "model"):
        if values.get(name) == folder:
            values[name] = question.get("model") or question["config"]
    found["resolved"] = values
    _look_up_reasoning_parser(vllm_config, found)
    if question.get("weights"):
        found["stage"] = "weights"
        _check_dtype(vllm_config)
        _cut_layers(vllm_config)
        with groups.build_model(vllm_config, 0) as model:
            rotary = resolved.rotary(model)
        if rotary:
            values["rotary"] = rotary
        _build_last_stage(vllm_config)
    found["stage"] = "ok"


def _build_last_stage(vllm_config: Any) -> None:
    """Stages but the first begin with placeholders, over which a model class may stumble (0.11.1: Qwen3-Next)."""
    parallel = vllm_config.parallel_config
    stages = parallel.pipeline_parallel_size
    if stages > 1:
        ranks = groups.world_size(vllm_config) // parallel.data_parallel_size
        with groups.build_model(vllm_config, ranks // stages * (stages - 1)):
            pass


def _look_up_reasoning_parser(vllm_config: Any, found: dict[str, Any]) -> None:
    """The engine looks its reasoning parser up once it has a configuration; some releases do not look before."""
    outputs = getattr(vllm_config, "structured_outputs_config", None)
    if name := getattr(outputs, "reasoning_parser", None):
        from vllm.reasoning import ReasoningParserManager

        found["stage"] = "tools"
        ReasoningParserManager.get_reasoning_parser(name)
        found["stage"] = "config"


def _check_dtype(vllm_config: Any) -> None:
    """What each worker asks of its card before it makes the layers."""
    from vllm.platforms import current_platform

    check = getattr(current_platform, "check_if_supports_dtype", None)
    if check is None:  # before 0.11 it stood beside the worker
        check = importlib.import_module("vllm.v1.worker.gpu_worker")._check_if_gpu_supports_dtype
    check(vllm_config.model_config.dtype)


def _cut_layers(vllm_config: Any) -> None:
    """Leave a few layers of each stage: the others refuse nothing else. A partition names all layers, so they stay."""
    if os.environ.get("VLLM_PP_LAYER_PARTITION"):
        return
    stages = vllm_config.parallel_config.pipeline_parallel_size
    model = vllm_config.model_config
    if model.hf_text_config.num_hidden_layers // stages >= _LAYERS:
        for config in (model.hf_config, model.hf_text_config):
            config.num_hidden_layers = _LAYERS * stages


def _set_environment(wanted: dict[str, str]) -> dict[str, str]:
    """Set the launch's variables, forget what was remembered of earlier ones; the environment before is returned."""
    global _last_environment
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("VLLM_") and name not in _OURS]:
        del os.environ[name]
    os.environ.update(wanted)
    if wanted != _last_environment:
        if _in_defaults(wanted) != _in_defaults(_last_environment):
            serve_command.forget_parsers()
        _last_environment = dict(wanted)
        import vllm.envs as envs

        if hasattr(envs, "disable_envs_cache"):
            envs.disable_envs_cache()
        pretend.forget()
    return before


def _in_defaults(environment: dict[str, str]) -> dict[str, str]:
    """Variables that 0.13.0 to 0.14.1 read while they make the defaults of their parser."""
    return {name: value for name, value in environment.items() if "ATTN" in name or "ATTENTION" in name}


_OURS = frozenset({"VLLM_LOGGING_LEVEL", "VLLM_NO_USAGE_STATS", "VLLM_CACHE_ROOT", "VLLM_DO_NOT_TRACK"})
"""What keeps the worker quiet and clean stays set."""


def _is_ours(error: BaseException) -> bool:
    """Whether the worker's own code failed, which says nothing about the release."""
    if isinstance(error, (serve_command.ParseError, serve_command.Refused)) or stand_ins.NOT_CALLED in str(error):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).parent == Path(__file__).parent


def _text(error: BaseException, question: dict[str, Any]) -> str:
    """The words of ``error`` without what pydantic adds, and the model's name for its directory."""
    text: str = excuses.words_of(error)
    folder = configs.folder(question["config"])
    name = str(question.get("model") or question["config"])
    return text.replace(folder, name)[:_MOST_TEXT]


HANDLERS = {"launch": answer_launch}
