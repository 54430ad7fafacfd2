"""``qcmatrix rule``, ``rules``, ``models``, ``gpus``, ``releases``: what the catalogue knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import click

from qcmatrix.cli import text as style
from qcmatrix.cli.options import json_option


@click.command("rule")
@click.argument("rule_id", metavar="ID")
def rule_command(rule_id: str) -> None:
    """Print the page of one rule."""
    from qcmatrix.evidence.summary import lines_of
    from qcmatrix.rules import find_rule

    rule = find_rule(rule_id)
    click.echo(style.bold(rule.id))
    for line in _page_lines(rule.page):
        click.echo(line)
    for name, value in (
        ("Holds for vLLM", str(rule.holds)),
        ("Outcome", f"{rule.outcome.value} ({rule.outcome.severity.value})"),
        ("Known", rule.level.value),
        *lines_of(rule.evidence),
        ("Reads", ", ".join(rule.reads)),
    ):
        for line in style.wrapped(value, first=f"{name + ':':<16}", rest=" " * 16):
            click.echo(line)
    for source in rule.sources:
        click.echo(f"{'Source:':<16}{source.url}")
        for line in style.wrapped(f"{source.level.value}: {source.quote}", first=" " * 16, rest=" " * 18):
            click.echo(line)


def _page_lines(page: str) -> Iterator[str]:
    """A rule's docstring at the terminal's width: its headings alone, its paragraphs and list items folded anew."""
    for paragraph in page.split("\n\n"):
        head, _, body = paragraph.partition("\n")
        if body:
            yield head
        for item in re.split(r"\n(?=- )", body or head):
            yield from style.wrapped(item, first="", rest="  " if item.startswith("- ") else "")
        yield ""


@click.command("rules")
@json_option()
def rules_command(as_json: bool) -> None:
    """List the rules."""
    from qcmatrix.rules import all_rules

    rows = [(rule.id, rule.outcome.value, str(rule.holds), rule.level.value, rule.title) for rule in all_rules()]
    _table(("rule", "outcome", "vLLM", "known", "title"), rows, as_json)


@click.command("models")
@json_option()
def models_command(as_json: bool) -> None:
    """List the models and their checkpoints."""
    from qcmatrix.catalogue.models import all_checkpoints

    rows = []
    for resolved in all_checkpoints():
        quantization = resolved.checkpoint.quantization
        kind = "bf16" if quantization.method == "none" else f"{quantization.method}, {quantization.weight_bits} bit"
        positions = resolved.architecture.max_position_embeddings
        rows.append((resolved.checkpoint.short, resolved.checkpoint.repository, kind, f"{positions:,}"))
    _table(("name", "repository", "weights", "native context"), rows, as_json)


@click.command("gpus")
@json_option()
def gpus_command(as_json: bool) -> None:
    """List the GPUs with what the driver reports."""
    from qcmatrix.catalogue.gpus import all_gpus

    rows = [
        (
            gpu.name,
            f"{gpu.visible_gib:g}",
            _capability(gpu.compute_capability, gpu.vendor),
            _figure(gpu.bandwidth_gbs),
            _figure(gpu.bf16_tflops),
            _figure(gpu.fp8_tflops),
            gpu.interconnect,
        )
        for gpu in all_gpus()
    ]
    heads = ("gpu", "usable GiB", "capability", "GB/s", "BF16 TFLOP/s", "FP8 TFLOP/s", "interconnect")
    _table(heads, rows, as_json)


@click.command("releases")
@json_option()
def releases_command(as_json: bool) -> None:
    """List the vLLM releases."""
    from qcmatrix.catalogue.releases import load_release, release_names

    rows = []
    for name in reversed(release_names()):
        file = load_release(name).file
        rows.append(
            (
                name,
                str(file.date),
                str(len(file.flags)),
                str(len(file.tool_parsers)),
                f"{file.gpu_memory_utilization:g}",
                "in the budget" if file.cudagraph_estimated else "outside",
            )
        )
    _table(("vLLM", "released", "flags", "tool parsers", "utilization", "CUDA graphs"), rows, as_json)


def _capability(capability: tuple[int, int] | None, vendor: str) -> str:
    if capability is None:
        return "unknown"
    major, minor = capability
    return f"gfx{major}{minor}" if vendor == "amd" else f"{major}.{minor}"


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], as_json: bool) -> None:
    """A table for people in a terminal; tab-separated for a pipe; JSON on demand."""
    rows = list(rows)
    if as_json:
        import json

        keys = [head.lower().replace(" ", "_").replace("/", "_per_") for head in heads]
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    import sys

    if not sys.stdout.isatty():
        click.echo("\t".join(heads))
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
