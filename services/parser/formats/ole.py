"""OLE2 containers, which hold the legacy formats of Word, Excel and PowerPoint."""

from io import BytesIO
from typing import Final

from olefile import OleFileIO
from olefile.olefile import OleFileError

from services.parser.errors import ExtractionError

OLE_MARK: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def streams(content: bytes, *names: str) -> dict[str, bytes]:
    """Return those of the named streams at the top of the container that are there.

    Raises ExtractionError `corrupt` when it is no such container.
    """
    try:
        with OleFileIO(BytesIO(content)) as file:
            return {name: file.openstream(name).read() for name in names if file.exists(name)}
    except (OleFileError, OSError, ValueError, IndexError) as error:
        raise ExtractionError("corrupt", f"The file is damaged: its container does not open ({error}).") from error


def encrypted() -> ExtractionError:
    """Return the error for a document under a password."""
    return ExtractionError("encrypted", "The document is protected by a password. Remove it and send it again.")
