"""`rag backup` and `rag restore`: everything that a platform on this machine stores, in one file."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Json

Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of everything that is stored (or RAG_DATA_DIR).")
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must not exist.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write all that a stopped platform stores into one file.

    Stop `rag up` first: broker, database and index are then of one moment. The file holds texts and secrets.
    """
    # Imports the settings, which takes half a second that `rag --help` shall not.
    from services.cli.backing_up import back_up

    raise typer.Exit(back_up(file, data, as_json=as_json))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `rag backup` wrote.")],
    data: Data = None,
    check: Annotated[bool, typer.Option("--check", help="Only read it, and tell whether it is whole.")] = False,
    as_json: Json = False,
) -> None:
    """Fill an empty data folder with a backup, all or nothing."""
    from services.cli.restoring import check_backup, restore_backup

    if check:
        raise typer.Exit(check_backup(file, as_json=as_json))
    raise typer.Exit(restore_backup(file, data, as_json=as_json))
