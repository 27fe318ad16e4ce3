"""What `make eval` puts around `rag eval`."""

import argparse
import json
from pathlib import Path

import pytest

from tests.load.evaluation import PAGE, SECTION_END, SECTION_START, datasets, pair, whole_documents, write_page
from tests.load.lexical import ReferenceBm25

FIGURES = {
    "dataset": "facts",
    "collection": "facts",
    "sampling": {"limit": None, "seed": 0},
    "ingest": None,
    "multi_hop": {},
}


def test_the_reference_ranks_by_rare_stemmed_words_and_leaves_out_what_shares_none() -> None:
    index = ReferenceBm25(["a", "b", "c"], ["The cats run in a house.", "A house of the dogs.", "Stop the music."])
    assert index.search("a running cat in the house", 10) == ["a", "b"]
    assert index.search("the", 10) == []
    assert index.search("houses", 1) in (["a"], ["b"])


def test_whole_documents_start_with_their_title(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": 1, "title": "T", "text": "x"}\n{"id": "b", "title": null, "text": "y"}\n')
    assert whole_documents(path) == (["1", "b"], ["T\n\nx", "\n\ny"])


def test_datasets_are_the_folders_that_can_be_evaluated_or_the_folder_itself(tmp_path: Path) -> None:
    for name in ("qa/corpus.jsonl", "qa/qa.jsonl", "documents/corpus.jsonl", "other/qa.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [dataset.name for dataset in datasets(tmp_path, [])] == ["qa"]
    assert [dataset.name for dataset in datasets(tmp_path / "qa", [])] == ["qa"]
    assert datasets(tmp_path, ["documents"]) == []


@pytest.mark.parametrize("text", ["a", "a=", "=b"])
def test_a_pair_has_two_sides(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=OTHER"):
        pair(text)
    assert pair("a=b") == ("a", "b")


def test_tables_are_put_between_the_marks_and_replace_what_was_there(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{SECTION_START}\nold\n{SECTION_END}\n\nafter\n")
    (tmp_path / "eval-facts.json").write_text(json.dumps(FIGURES))
    write_page(page, tmp_path)
    first = page.read_text()
    assert first.startswith("before\n\n")
    assert first.endswith("\n\nafter\n")
    assert "### facts\n\nfacts: " in first
    assert "old" not in first
    write_page(page, tmp_path)
    assert page.read_text() == first


def test_the_page_of_the_project_has_the_marks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(SECTION_START) == text.count(SECTION_END) == 1
