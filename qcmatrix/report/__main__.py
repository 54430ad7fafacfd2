"""``python -m qcmatrix.report``: write the derived pages, or check that they are fresh."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from qcmatrix.report.evidence import write_summary
from qcmatrix.report.pages import PAGES, filled_readme, run_pages


@click.command()
@click.option("--write", is_flag=True, help="Write what is stale; without it, print the differences.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path())
def report(write: bool, root: Path) -> int:
    """Make the derived pages: rule pages, JSON Schemas, accuracy and latency tables, parts of the README."""
    if write:
        write_summary(root)  # the rules' pages show what it says
    wanted = dict(page for pages in PAGES for page in pages())
    wanted.update(run_pages(root))
    readme = Path("README.md")
    wanted[readme] = filled_readme((root / readme).read_text(encoding="utf-8"))
    kept = {path.relative_to(root) for path in (root / "docs" / "rules").glob("*.md")}
    stale = 0
    for path in sorted(set(wanted) | kept):
        now = (root / path).read_text(encoding="utf-8") if (root / path).exists() else ""
        new = wanted.get(path, "")
        if now == new:
            continue
        stale += 1
        if not write:
            diff = difflib.unified_diff(
                now.splitlines(), new.splitlines(), str(path), f"{path} (made anew)", lineterm=""
            )
            click.echo("\n".join(diff))
        elif path in wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(new, encoding="utf-8", newline="\n")
        else:
            (root / path).unlink()
    click.echo(f"{stale} of {len(wanted)} derived files {'written' if write else 'stale'}", err=True)
    return 0 if write or not stale else 1


if __name__ == "__main__":
    raise SystemExit(report.main(standalone_mode=False))
