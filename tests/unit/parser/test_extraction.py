import pytest

from services.parser.document import MAX_TITLE_CHARACTERS, Block, Document, Extracted, Heading, Section, Source
from services.parser.errors import ExtractionError
from services.parser.extraction import EXTRACTORS, load_extractor, open_document


def noisy(source: Source) -> Extracted:
    """An extractor that leaves all cleaning to its caller."""
    dirty = Section("\n\0\r\n  first\r\nsecond \ud800 \n")
    blocks: list[Block] = [Heading(40, " A\0\n heading "), Heading(41, "\x07"), dirty, Section(" \n ")]
    return Extracted("A\ntitle " + "x" * 1_000, blocks)


def opened(text: str, media_type: str) -> tuple[Document, list[str]]:
    document = open_document(text.encode(), media_type)
    return document, [section.text for section in document.sections]


@pytest.mark.parametrize("target", EXTRACTORS.values(), ids=EXTRACTORS)
def test_every_row_names_a_function(target: str) -> None:
    assert callable(load_extractor(target))


@pytest.mark.parametrize(
    ("text", "media_type", "title", "sections"),
    [
        ("One\n two\n\n \n  Three\n", "text/plain", None, ["One\n two", "  Three"]),
        ("# T\n\nBody", "text/markdown", "T", ["T", "Body"]),
        ("<title>T</title><p>Body", "text/html", "T", ["Body"]),
    ],
)
def test_each_format_gives_its_title_and_sections(
    text: str, media_type: str, title: str | None, sections: list[str]
) -> None:
    document, found = opened(text, media_type)
    assert (document.media_type, document.title, found) == (media_type, title, sections)


def test_whatever_an_extractor_yields_comes_out_clean() -> None:
    rows = {"text/plain": f"{__name__}:noisy"}
    document = open_document(b"anything", extractors=rows)
    assert document.title is not None
    assert len(document.title) <= MAX_TITLE_CHARACTERS
    assert list(document.sections) == [
        Section("A heading", "heading", ("A heading",)),
        Section("  first\nsecond", "text", ("A heading",)),
    ]


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("", "text/plain"),
        (" \n\t\n\ufeff", "text/plain"),
        ("", "text/markdown"),
        ("---\ntitle: T\n---\n<!-- a comment -->", "text/markdown"),
        ("", "text/html"),
        ("<title>T</title><p> </p><script>x</script>", "text/html"),
    ],
)
def test_a_document_without_text_says_so(text: str, media_type: str) -> None:
    document = open_document(text.encode(), media_type)
    with pytest.raises(ExtractionError, match="No text") as refused:
        list(document.sections)
    assert refused.value.code == "no_text"


@pytest.mark.parametrize(
    ("content", "filename"), [(b"\x89PNG\r\n\x1a\n", "a/b/photo.png"), (b"\0\1\2\3" * 9, "x.bin"), (b"\x7fELF", None)]
)
def test_an_unreadable_type_is_named_with_the_readable_ones(content: bytes, filename: str | None) -> None:
    with pytest.raises(ExtractionError, match="text/plain") as refused:
        open_document(content, None, filename)
    assert refused.value.code == "unsupported_type"
    assert "a/b" not in refused.value.message
