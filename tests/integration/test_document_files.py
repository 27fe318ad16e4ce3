"""Documents of every format as people send them, read in the sandbox; skipped where the collection is absent."""

import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from services.parser.extraction import EXTRACTORS
from tests.load.document_words import Expected, Figures, expected_words, read_all, table

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "documents"
LEAST_WORD_SHARE = 0.97
LEAST_FILE_SHARE = 0.90
FAMILIES = {
    "office": ("docx", "doc", "pptx", "xlsx", "odt"),
    "PDF": ("pdf",),
    "text": ("txt", "md", "html", "csv", "xml", "json", "rst", "org", "rtf", "epub", "ipynb", "eml", "msg"),
}
NEEDED = {
    "office": {"application/msword", "application/vnd.oasis.opendocument.text"},
    "PDF": {"application/pdf"},
    "text": {"application/rtf", "application/epub+zip", "message/rfc822", "application/vnd.ms-outlook"},
}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent")


def needs(*families: str) -> pytest.MarkDecorator:
    missing = set().union(*(NEEDED[family] for family in families)) - set(EXTRACTORS)
    return pytest.mark.skipif(bool(missing), reason=f"no extractor for {sorted(missing)}")


async def figures(formats: Collection[str] | None) -> Figures:
    files: list[Expected] = expected_words(DATA, formats)
    results = await read_all(files)
    sys.stdout.write("\n".join(["", *table(results), ""]))
    return Figures.of(results)


@pytest.mark.parametrize("family", [pytest.param(name, marks=needs(name)) for name in FAMILIES])
async def test_the_words_of_each_family_are_found(family: str) -> None:
    found = await figures(FAMILIES[family])
    assert found.word_share >= LEAST_WORD_SHARE
    assert found.file_share >= LEAST_FILE_SHARE


@needs(*FAMILIES)
async def test_the_words_of_all_files_are_found() -> None:
    found = await figures(None)
    assert found.word_share >= LEAST_WORD_SHARE
    assert found.file_share >= LEAST_FILE_SHARE
