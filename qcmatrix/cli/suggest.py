"""``qcmatrix suggest``."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from qcmatrix.answers.schema import NodeAnswer, PlanAnswer, RefusalAnswer, SuggestAnswer
from qcmatrix.answers.suggest import Wishes, suggest
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, find_checkpoint, resolve_model
from qcmatrix.catalogue.releases import Release, load_release, newest_release
from qcmatrix.cli import text as style
from qcmatrix.cli.options import gpus_option, json_option, model_option, vllm_option, vllm_python_option
from qcmatrix.cli.own import open_own, plan_asker_of
from qcmatrix.errors import ExitCode, RequestError
from qcmatrix.planner.request import Goal, Request, parse_context, spell_context


@click.command("suggest")
@gpus_option()
@click.option("--ctx", metavar="TOKENS", help="Context to serve: 1M, 256K, 200000. Left out: the largest that fits.")
@model_option(multiple=True)
@vllm_option()
@vllm_python_option()
@click.option(
    "--goal",
    type=click.Choice([goal.value for goal in Goal]),
    help="What the first plan is best at. Default: throughput, or context when --ctx is left out.",
)
@click.option("--concurrency", type=click.IntRange(min=1), default=1, help="Requests of the whole context at once.")
@click.option("--kv-cache-dtype", metavar="TYPE", help="auto, fp8 ... Default: 16 bit where it fits, else FP8.")
@click.option("--gpu-memory-utilization", type=click.FloatRange(0, 1, min_open=True), metavar="FRACTION")
@click.option("--max-num-seqs", type=click.IntRange(min=1), metavar="N")
@click.option("--max-num-batched-tokens", type=click.IntRange(min=1), metavar="N")
@click.option("--no-tools", is_flag=True, help="Leave the tool calling options out.")
@click.option("--top", type=click.IntRange(min=1), default=3, help="How many plans.")
@click.option("--explain", is_flag=True, help="Also print the notes, and why other models were left out.")
@json_option()
def suggest_command(
    gpus: str,
    ctx: str | None,
    models: tuple[str, ...],
    vllm: str | None,
    vllm_python: Path | None,
    goal: str | None,
    concurrency: int,
    kv_cache_dtype: str | None,
    gpu_memory_utilization: float | None,
    max_num_seqs: int | None,
    max_num_batched_tokens: int | None,
    no_tools: bool,
    top: int,
    explain: bool,
    as_json: bool,
) -> int:
    """Valid launch commands for your GPUs, best first; or why there is none, and what would help."""
    fleets = parse_fleet(gpus)
    checkpoints = tuple(resolve_model(model) for model in models)
    context = None if ctx is None else parse_context(ctx)
    chosen = Goal(goal) if goal else (Goal.CONTEXT if context is None else Goal.THROUGHPUT)
    with contextlib.ExitStack() as stack:
        own = open_own(stack, vllm_python, vllm)
        release = own.release if own is not None else load_release(vllm or newest_release())
        _check_kv_cache_dtype(kv_cache_dtype, _kv_cache_dtypes(release), release.name)
        template = Request(
            fleet=fleets[0],
            checkpoint=checkpoints[0] if checkpoints else find_checkpoint("480b-fp8"),
            release=release,
            context=context,
            goal=chosen,
            concurrency=concurrency,
            kv_cache_dtype=kv_cache_dtype,
            gpu_memory_utilization=gpu_memory_utilization,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            tools=not no_tools,
        )
        ask = None if own is None else plan_asker_of(own)
        answer = suggest(Wishes(fleets, checkpoints, template, top), ask)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
    else:
        if len(fleets) > 1:
            names = " and ".join(fleet.gpu.name for fleet in fleets)
            click.echo(f"{gpus} can be {names}: answering for each", err=True)
        for line in _lines(answer, checkpoints, explain=explain):
            click.echo(line)
    return int(ExitCode.OK if answer.plans else ExitCode.FINDINGS)


def _kv_cache_dtypes(release: Release) -> tuple[str, ...]:
    """The types that the release names, whether its parser insists on them or its configuration does."""
    flag = release.flag_by_dest["kv_cache_dtype"]
    return flag.choices or flag.known


def _check_kv_cache_dtype(wanted: str | None, choices: tuple[str, ...], release: str) -> None:
    if wanted is not None and choices and wanted not in choices:
        raise RequestError(
            f"--kv-cache-dtype {wanted!r} is not known to vLLM {release}", f"choose from {', '.join(choices)}"
        )


def _lines(answer: SuggestAnswer, named: tuple[ResolvedCheckpoint, ...], *, explain: bool) -> Iterator[str]:
    for index, fleet in enumerate(answer.request["gpus"]):
        if index:
            yield ""
        plans = [plan for plan in answer.plans if plan.fleet == fleet]
        refusals = [refusal for refusal in answer.refusals if refusal.fleet == fleet]
        context = answer.request["context"]
        wish = f"context {spell_context(context)}" if context else "the largest context"
        yield style.bold(f"{fleet}, vLLM {answer.request['vllm']}, {wish}")
        first_model = plans[0].model if plans else None
        main = [plan for plan in plans if named or plan.model == first_model]
        for _, group in itertools.groupby(main, key=lambda plan: plan.model):
            yield from _model_plans(list(group), explain=explain)
        others = [plan for plan in plans if plan not in main]
        if others:
            yield ""
            yield "Other checkpoints that also fit (`--model` shows each):"
            for plan in others:
                taken = "" if plan.asked is None else f", {plan.asked.says} by your vLLM"
                yield from style.wrapped(f"{plan.model}: {_figures(plan)}{taken}", first="  ", rest="    ")
        if refusals and (explain or named or not plans):
            # With no model named the smallest one comes nearest to fitting; the stronger ones are told on demand.
            for refusal in refusals if explain or named else refusals[-1:]:
                yield from _refusal(refusal)
            if len(refusals) > 1 and not (explain or named):
                yield "  = the stronger models do not fit either: --explain says why"
        yield from _refused([plan for plan in answer.refused if plan.fleet == fleet])
        hints = [hint for hint in answer.hints if hint.fleet == fleet or not plans]
        if hints and (not plans or named) and index == len(answer.request["gpus"]) - 1:
            yield from _hints(answer)


def _model_plans(plans: list[PlanAnswer], *, explain: bool) -> Iterator[str]:
    first, *rest = plans
    yield ""
    yield f"{style.bold(first.model)}: {style.paint_verdict(first.verdict)}"
    yield from style.wrapped(style.evidence_text(first.evidence, first.release), first="  ", rest="    ")
    yield from style.asked_lines(first.asked)
    yield from style.wrapped(f"first because: {first.why}", first="  ", rest="    ")
    yield ""
    yield from _commands(first.nodes)
    yield ""
    yield from style.ledger_lines(first.memory)
    yield from style.latency_lines(first.latency)
    for finding in first.findings if explain else [each for each in first.findings if each.severity != "info"]:
        painted = style.paint_severity(finding.severity, f"{finding.severity}[{finding.rule}]")
        lines = list(style.wrapped(f"{finding.severity}[{finding.rule}]: {finding.because}", first="  ", rest="    "))
        yield lines[0].replace(f"{finding.severity}[{finding.rule}]", painted, 1)
        yield from lines[1:]
    for number, plan in enumerate(rest, start=2):
        yield ""
        yield from style.wrapped(f"{number}. {_shape(plan)}: {plan.why}", first="", rest="   ")
        yield from style.asked_lines(plan.asked, brief=True)
        yield from _commands(plan.nodes)


def _refused(plans: list[PlanAnswer]) -> Iterator[str]:
    """What the user's own vLLM does not take, though our rules find nothing: told, and never offered."""
    if not plans:
        return
    yield ""
    count = style.counted(len(plans), "plan")
    yield style.paint_severity("error", f"Left out: {count} that your vLLM {plans[0].release} refuses")
    for plan in plans:
        yield from style.wrapped(f"{plan.model}, {_shape(plan)}", first="  ", rest="    ")
        words = "" if plan.asked is None else " ".join(plan.asked.text.split())
        yield from style.wrapped(f"vLLM says: {words}", first="  = ", rest="    ")


def _commands(nodes: tuple[NodeAnswer, ...]) -> Iterator[str]:
    several = len(nodes) > 1
    for node in nodes:
        if several:
            yield f"# node {node.node}{' (HEAD_NODE_IP is its address)' if node.node == 0 else ''}"
        yield from _node(node)


def _node(node: NodeAnswer) -> Iterator[str]:
    for words in node.before:
        yield " ".join(words)
    if node.argv is not None:
        yield style.shell_text(node.argv, node.env)


def _figures(plan: PlanAnswer) -> str:
    memory = plan.memory
    context = spell_context(int(_option(plan, "--max-model-len")))
    kv = f"KV cache {memory.kv_tokens.mid:,.0f} tokens per engine"
    return f"{_shape(plan)}, context {context}, {kv} ({plan.verdict})"


def _shape(plan: PlanAnswer) -> str:
    names = {
        "--tensor-parallel-size": "TP",
        "--pipeline-parallel-size": "PP",
        "--data-parallel-size": "DP",
    }
    words = [f"{short} {plan.argv[plan.argv.index(flag) + 1]}" for flag, short in names.items() if flag in plan.argv]
    if "--enable-expert-parallel" in plan.argv:
        words.append("expert parallel")
    return ", ".join(words) or "one GPU"


def _option(plan: PlanAnswer, flag: str) -> str:
    return plan.argv[plan.argv.index(flag) + 1]


def _refusal(refusal: RefusalAnswer) -> Iterator[str]:
    yield ""
    yield f"{style.paint_severity('error', 'no plan')} for {style.bold(refusal.model)} on {refusal.fleet}"
    if refusal.conflict:
        yield from style.wrapped(f"together impossible: {' / '.join(refusal.conflict)}", first="  = ", rest="    ")
    for reason in refusal.because:
        yield from style.wrapped(f"{reason.rule}: {reason.text}", first="  = ", rest="    ")


def _hints(answer: SuggestAnswer) -> Iterator[str]:
    yield ""
    yield "What would help (each solved again):"
    for hint in answer.hints:
        about = f" [{hint.model.rpartition('/')[2]} on {hint.fleet}, vLLM {hint.release}]"
        yield from style.wrapped(f"hint: {hint.text}{about}", first="  ", rest="    ")
    yield ""
    yield "The command for the first hint:"
    yield from _commands(answer.hints[0].nodes)
