"""Where the all-in-one image begins: makes and shows a first key on its first start, then becomes the given command.

A published port of a container is open to other machines, so the platform in it never runs without authentication; and
whoever starts it for the first time has no key yet.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from services.cli.data_folder import DataFolder, write_private
from services.cli.errors import CommandError
from services.cli.key_making import NewKeyWish, make_key
from services.cli.settings import LauncherSettings, load
from shared.access import KEYS, auth_modes

LAUNCH: Final = ["rag", "up"]
SCOPES: Final = "ingest,query,admin"
EXPIRES: Final = "90d"
# Tells that a key was made and shown; holds its id, which opens nothing.
MARKER: Final = "first-key"


def show_first_key(data: DataFolder) -> None:
    """Make a key of all scopes and print it, unless one was made in this data folder before."""
    marker = data.root / MARKER
    if marker.exists():
        return
    made = make_key(NewKeyWish(None, SCOPES, EXPIRES, "first start"), "", data.root)
    lines = (
        "",
        f"    RAG_API_KEY={made['key']}",
        "",
        f"This key opens tenant {made['tenant']} for {', '.join(made['scopes'])} until {made['expires_at']}.",
        f"It is not shown again. Another: docker exec CONTAINER rag keys create --data {data.root} --scopes {SCOPES}",
        "",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    write_private(marker, f"{made['id']}\n")


def main(command: Sequence[str]) -> int:
    """Run the command in place of this process; return 1 when the first key cannot be made."""
    try:
        settings = load(LauncherSettings)
        if list(command[:2]) == LAUNCH and KEYS in auth_modes(settings.auth):
            data = DataFolder(settings.data_dir.absolute())
            data.create()
            show_first_key(data)
    except CommandError as error:
        sys.stderr.write(f"rag: {error}\n")
        return 1
    os.execvp(command[0], list(command))  # nosec B606: the command of the image, or of who starts it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
