"""``qcmatrix client``."""

from __future__ import annotations

from pathlib import Path

import click

from qcmatrix.clients.emit import FimForm, continue_config
from qcmatrix.errors import ExitCode, RequestError
from qcmatrix.matrix.entries import read_matrix
from qcmatrix.matrix.served import served_by


@click.command("client")
@click.argument("entry_id", metavar="ENTRY")
@click.option("--matrix", "path", type=click.Path(path_type=Path), default=Path("matrix.toml"), show_default=True)
@click.option("--base-url", metavar="URL", help="Where the server is reached; without it on this machine.")
@click.option(
    "--template",
    "form",
    type=click.Choice([form.value for form in FimForm]),
    default=FimForm.BY_NAME.value,
    show_default=True,
    help="How a gap is put: Continue's own template, the bare FIM markers, or chat turns around them.",
)
@click.option("--api-key-secret", default="", metavar="NAME", help="The secret of Continue's that holds the API key.")
def client_command(entry_id: str, path: Path, base_url: str | None, form: str, api_key_secret: str) -> int:
    """Print a Continue config.yaml for the server of ENTRY.

    \b
    qcmatrix client 30b-fp8-256k-1xh200-0.33 > ~/.continue/config.yaml
    """
    from qcmatrix.suites.items import chosen_entries

    entries = chosen_entries(read_matrix(path).entry, (entry_id,))
    if len(entries) != 1:
        raise RequestError(f"{entry_id} means {len(entries)} entries", "a configuration is for one server: name one")
    served = served_by(entries[0])
    if served.wants_key and not api_key_secret:
        raise RequestError(
            f"{entries[0].id} asks for an API key",
            "name the secret that Continue keeps it in: --api-key-secret VLLM_API_KEY",
        )
    text = continue_config(
        served_name=served.name,
        base_url=base_url or served.base_url,
        context=served.context,
        tools=served.tools,
        form=FimForm(form),
        api_key_secret=api_key_secret,
    )
    click.echo(text, nl=False)
    return int(ExitCode.OK)
