"""Jupyter notebooks: Markdown cells as Markdown, code cells as code, and what they printed."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from services.parser.document import Block, Extracted, Heading, Section, Source, clean
from services.parser.errors import ExtractionError
from services.parser.formats import html, markdown

# Progress bars and dumped tables say little beyond their beginning.
_MAX_OUTPUT_CHARACTERS: Final = 4_000
_MAX_OUTPUTS_OF_CELL: Final = 20
_BLOCKS_BEFORE_TITLE: Final = 5
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# An output comes in several forms; the first of these is the one that reads best.
_OUTPUT_FORMS: Final = ("text/markdown", "text/plain", "text/html", "text/latex")


def extract(source: Source) -> Extracted:
    """Read a notebook; its title is that of its metadata, else the first heading when that is of level 1."""
    notebook = _parsed(source)
    title = _text(_mapping(notebook.get("metadata")).get("title"))
    beginning = islice(_blocks(notebook), _BLOCKS_BEFORE_TITLE)
    first = next((block for block in beginning if isinstance(block, Heading)), None)
    if not title and first and first.level == 1:
        title = first.text
    return Extracted(title or None, _blocks(notebook))


def _parsed(source: Source) -> dict[str, Any]:
    text = source.content.decode(source.encoding or "utf-8", "replace").lstrip("\ufeff")
    try:
        # Numbers are never shown, and one of 5,000 digits would take its time.
        notebook = json.loads(text, strict=False, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise ExtractionError("corrupt", f"The notebook is damaged: it is no JSON ({error}).") from error
    if not isinstance(notebook, dict):
        raise ExtractionError("corrupt", "The notebook is damaged: it holds no cells.")
    return notebook


def _blocks(notebook: dict[str, Any]) -> Iterator[Block]:
    for cell in _cells(notebook):
        text = _text(cell.get("source", cell.get("input")))
        kind = cell.get("cell_type")
        if kind == "markdown":
            yield from markdown.blocks(text.split("\n"))
        elif kind == "heading":
            yield Heading(_level(cell.get("level")), text)
        elif kind == "code":
            yield Section(text, "code")
            yield from _outputs(cell)
        else:
            yield Section(text)


def _cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the cells; until version 4 of the format they were kept in worksheets."""
    sheets = [notebook, *map(_mapping, _list(notebook.get("worksheets")))]
    for sheet in sheets:
        yield from (cell for cell in _list(sheet.get("cells")) if isinstance(cell, dict))


def _outputs(cell: dict[str, Any]) -> Iterator[Block]:
    for output in islice(map(_mapping, _list(cell.get("outputs"))), _MAX_OUTPUTS_OF_CELL):
        if output.get("output_type") in ("error", "pyerr"):
            yield Section(_bounded(f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"))
            continue
        forms = _mapping(output.get("data")) or {
            f"text/{key}": output[key] for key in ("html", "latex") if key in output
        }
        # Streams, and all outputs before version 4, hold their text themselves.
        forms = {"text/plain": output.get("text"), **forms}
        form = next((form for form in _OUTPUT_FORMS if _text(forms.get(form)).strip()), None)
        if form:
            yield from _output(form, _bounded(_text(forms[form])))


def _output(form: str, text: str) -> Iterable[Block]:
    if form == "text/markdown":
        return markdown.blocks(text.split("\n"))
    return html.blocks(text) if form == "text/html" else [Section(text)]


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_OUTPUT_CHARACTERS else text[:_MAX_OUTPUT_CHARACTERS] + "…"


def _text(value: object) -> str:
    """Return a text that may be kept as a list of lines."""
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    return clean(_ESCAPES.sub("", value)) if isinstance(value, str) else ""


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _level(value: object) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 1 else 1
