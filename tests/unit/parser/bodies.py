"""What stands under a document's headings, for tests of formats; `heading_path` says which headings those are."""

from collections.abc import Iterable

from services.parser.document import Block, Section, with_heading_paths


def bodies(blocks: Iterable[Block]) -> list[Section]:
    """Return the sections of a document without the headings in front of them."""
    return [section for section in with_heading_paths(blocks) if section.kind != "heading"]


def without_headings(sections: Iterable[Section]) -> list[Section]:
    """Return the sections that are no headings."""
    return [section for section in sections if section.kind != "heading"]
