import json
from typing import Any

import pytest

from services.parser.document import Block, Heading, Section, Source
from services.parser.errors import ExtractionError
from services.parser.formats.notebook import extract


def blocks(*cells: dict[str, Any], **more: Any) -> list[Block]:
    content = json.dumps({"cells": cells, "nbformat": 4, **more}).encode()
    return list(extract(Source(content, "application/x-ipynb+json")).blocks)


def code(*outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": outputs}


def test_cells_are_what_they_say_they_are() -> None:
    cells = (
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Some *text*."]},
        code({"output_type": "stream", "name": "stdout", "text": ["42\n", "43"]}),
        {"cell_type": "raw", "source": "as is"},
        {"cell_type": "heading", "level": 3, "source": "Old"},
    )
    assert blocks(*cells) == [
        Heading(1, "Title"),
        Section("Some *text*."),
        Section("x = 1\nx", "code"),
        Section("42\n43"),
        Section("as is"),
        Heading(3, "Old"),
    ]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"output_type": "execute_result", "data": {"text/plain": "1", "image/png": "iVBOR"}}, ["1"]),
        ({"output_type": "display_data", "data": {"text/html": "<p>a</p><p>b</p>"}}, ["a", "b"]),
        ({"output_type": "display_data", "data": {"text/markdown": "a\n\nb", "text/plain": "x"}}, ["a", "b"]),
        ({"output_type": "display_data", "data": {"image/png": "iVBOR"}}, []),
        ({"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["..."]}, ["KeyError: 'x'"]),
        ({"output_type": "stream", "text": "\x1b[31mred\x1b[0m"}, ["red"]),
        ({"output_type": "pyout", "text": "1", "png": "iVBOR"}, ["1"]),
    ],
)
def test_outputs_are_read_in_their_best_form(output: dict[str, Any], expected: list[str]) -> None:
    assert [block.text for block in blocks(code(output))[1:]] == expected


def test_outputs_are_bounded() -> None:
    stream = {"output_type": "stream", "text": "x" * 1_000_000}
    found = blocks(code(*[stream] * 100))
    assert len(found) == 21
    assert max(len(block.text) for block in found) < 5_000


def test_notebooks_before_version_4_are_read() -> None:
    sheet = {"cells": [{"cell_type": "code", "input": "x = 1", "outputs": []}]}
    content = json.dumps({"worksheets": [sheet], "nbformat": 3}).encode()
    assert list(extract(Source(content, "")).blocks) == [Section("x = 1", "code")]


@pytest.mark.parametrize(
    ("metadata", "title"), [({"title": "Study"}, "Study"), ({}, "First"), ({"title": None}, "First"), ([], "First")]
)
def test_the_title_is_the_metadatas_or_the_first_headings(metadata: Any, title: str) -> None:
    content = json.dumps({"metadata": metadata, "cells": [{"cell_type": "markdown", "source": "# First"}]}).encode()
    assert extract(Source(content, "")).title == title


@pytest.mark.parametrize("content", [b'{"cells": [', b"[]", b'{"cells":' * 100_000, b"no JSON", b""])
def test_damaged_notebooks_are_corrupt(content: bytes) -> None:
    with pytest.raises(ExtractionError) as refused:
        extract(Source(content, "application/x-ipynb+json"))
    assert refused.value.code == "corrupt"


@pytest.mark.parametrize(
    "cell",
    [1, {}, {"cell_type": "code", "source": True, "outputs": 5}, {"cell_type": "code", "outputs": [7, {"data": 8}]}],
)
def test_strange_cells_are_empty(cell: Any) -> None:
    assert not any(block.text for block in blocks(cell))
