"""Office Open XML packages (ECMA-376 part 2): parts and the relationships between them, as far as they are there."""

import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from services.parser.errors import ExtractionError
from services.parser.formats import xml
from services.parser.formats.archive import Archive
from services.parser.formats.xml import Element


@dataclass(frozen=True, slots=True)
class Relationship:
    """A link to another part of the package; `kind` is the last word of its type."""

    kind: str
    target: str


class Package:
    """A package opened at its main part; raises ExtractionError `corrupt` when it has none.

    Links that lead out of the package, or to parts that are missing, are as if they were not there.
    """

    def __init__(self, content: bytes, usual_main: str) -> None:
        self._archive = Archive(content)
        self._links: dict[str, dict[str, Relationship]] = {}
        mains = [
            *self.related("", "officeDocument"),
            *(name for name in self._archive.names if name.endswith(usual_main)),
        ]
        if not mains:
            raise ExtractionError("corrupt", f"The file is damaged: it has no {usual_main!r}. Export it again.")
        self.main = mains[0]

    @property
    def names(self) -> list[str]:
        """The names of all parts."""
        return self._archive.names

    @property
    def title(self) -> str | None:
        """The title among the document's properties."""
        parts = self.related("", "core-properties")
        return next((one.text for part in parts for one in xml.named(self.tree(part), "title")), None)

    def related(self, part: str, *kinds: str) -> list[str]:
        """Return the names of the parts that `part` links to under one of these kinds, in order."""
        links = self._relationships(part).values()
        return list(dict.fromkeys(link.target for link in links if link.kind in kinds))

    def target(self, part: str, link_id: str | None) -> str | None:
        """Return the name of the part behind the link of this id."""
        link = self._relationships(part).get(link_id or "")
        return link.target if link else None

    def tree(self, part: str) -> Element | None:
        """Return the root of a part, None when it is missing or beyond reading."""
        return xml.parse(self._archive.read(part))

    def stream(self, part: str, containers: Collection[str]) -> Iterator[Element]:
        """Yield the elements of a part one by one, see `xml.stream`."""
        with self._archive.open(part) as file:
            yield from xml.stream(file, containers)

    def _relationships(self, part: str) -> dict[str, Relationship]:
        if part not in self._links:
            folder, name = posixpath.split(part)
            self._links[part] = dict(self._read_links(folder, posixpath.join(folder, "_rels", f"{name}.rels")))
        return self._links[part]

    def _read_links(self, folder: str, part: str) -> Iterator[tuple[str, Relationship]]:
        for link in xml.named(self.tree(part), "Relationship"):
            written = (link.get("Target") or "").partition("#")[0].replace("\\", "/")
            spellings = (
                posixpath.normpath(posixpath.join("/", folder, one)).lstrip("/") for one in (written, unquote(written))
            )
            target = next((one for one in spellings if one in self._archive), None)
            if target and (link.get("TargetMode") or "").lower() != "external":
                yield link.get("Id") or "", Relationship((link.get("Type") or "").rpartition("/")[2], target)
