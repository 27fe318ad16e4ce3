"""The web console: files that lie beside the services, served as they are; they use the public API and nothing else."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

from shared.errors import NotFound
from shared.settings import PROJECT_ROOT

CONSOLE_FOLDER: Final = PROJECT_ROOT / "services" / "console"
PAGE: Final = "index.html"
_SERVED: Final = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt"})
_SCRIPT: Final = "text/javascript"
# No script but that of these files, nothing from elsewhere; only the sanitiser may make nodes of text.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    packed: bytes
    media_type: str
    tag: str


class Console:
    """Holds the files, plain and compressed, some 0.5 MB; ValueError for a link among them."""

    def __init__(self, folder: Path = CONSOLE_FOLDER) -> None:
        self._files: Mapping[str, _File] = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.suffix in _SERVED and path.is_file()
        }

    def answer(self, name: str, headers: Headers) -> Response:
        """Return a file, or that it has not changed; NotFound for a name that is none of them."""
        file = self._files.get(name)
        if file is None:
            raise NotFound(f"the console has no file {name!r}", code="not_found")
        # A browser asks each time and is told in a few bytes that it has the file: a new release shows at once.
        fields = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if name == PAGE:
            fields["Content-Security-Policy"] = POLICY
        if file.tag in headers.get("if-none-match", ""):
            return Response(status_code=304, headers=fields)
        if "gzip" in headers.get("accept-encoding", ""):
            return Response(file.packed, headers={**fields, "Content-Encoding": "gzip"}, media_type=file.media_type)
        return Response(file.content, headers=fields, media_type=file.media_type)


def _read(path: Path) -> _File:
    if path.is_symlink():
        raise ValueError(f"{path} is a link; the console serves files of its own")
    content = path.read_bytes()
    guessed = _SCRIPT if path.suffix == ".js" else mimetypes.guess_type(path.name)[0] or "text/plain"
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return _File(content, gzip.compress(content, mtime=0), guessed, tag)
