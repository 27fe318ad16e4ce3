"""Which files of a folder an evaluation takes."""

from pathlib import Path

import pytest

from services.cli.errors import CommandError
from services.cli.evaluation.dataset import (
    collection_of,
    find_dataset,
    require_corpus,
    require_questions,
    require_something_to_ask,
)


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_files_are_found_packed_or_not(tmp_path: Path, suffix: str) -> None:
    folder = files(tmp_path, f"corpus{suffix}", f"queries{suffix}", f"qa{suffix}", "qrels.tsv")
    dataset = find_dataset(folder)
    assert dataset.corpus == folder / f"corpus{suffix}"
    assert dataset.queries == folder / f"queries{suffix}"
    assert dataset.questions == folder / f"qa{suffix}"
    assert dataset.qrels == (folder / "qrels.tsv",)
    require_something_to_ask(dataset)


@pytest.mark.parametrize(
    ("names", "split", "taken"),
    [
        (["qrels/test.tsv", "qrels/train.tsv"], None, ["test.tsv"]),
        (["qrels/test.tsv", "qrels/train.tsv"], "train", ["train.tsv"]),
        (["qrels/dev.tsv", "qrels/train.tsv"], None, ["dev.tsv", "train.tsv"]),
        (["qrels.tsv", "qrels/test.tsv"], None, ["qrels.tsv"]),
        (["qrels.tsv", "qrels/test.tsv"], "test", ["test.tsv"]),
        ([], None, []),
    ],
)
def test_of_several_judgements_those_for_testing_are_taken(
    tmp_path: Path, names: list[str], split: str | None, taken: list[str]
) -> None:
    assert [path.name for path in find_dataset(files(tmp_path, *names), split).qrels] == taken


def test_a_split_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no qrels/test\.tsv for --split test; it has dev"):
        find_dataset(files(tmp_path, "qrels/dev.tsv"), "test")


def test_a_folder_without_documents_is_told_what_was_looked_for_and_found(tmp_path: Path) -> None:
    dataset = find_dataset(files(tmp_path, "documents.json", "qrels/test.tsv"))
    with pytest.raises(CommandError, match=r"no documents: looked for corpus\.jsonl .*, found documents\.json, qrels/"):
        require_corpus(dataset)
    with pytest.raises(CommandError, match=r"looked for qa\.jsonl or qa\.jsonl\.gz, found"):
        require_questions(dataset)


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="found nothing"):
        require_corpus(find_dataset(tmp_path))


@pytest.mark.parametrize("names", [["queries.jsonl"], ["qrels.tsv"], []])
def test_documents_alone_or_with_half_of_the_rest_are_not_enough(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(CommandError, match="no judged queries and no questions"):
        require_something_to_ask(find_dataset(files(tmp_path, "corpus.jsonl", *names)))


@pytest.mark.parametrize(
    ("folder", "collection"),
    [("scifact", "scifact"), ("My data (v2)", "My-data-v2"), ("_x", "x"), ("a" * 100, "a" * 64), ("ärzte", "rzte")],
)
def test_a_collection_is_named_after_the_folder(tmp_path: Path, folder: str, collection: str) -> None:
    assert collection_of(find_dataset(files(tmp_path / folder, "corpus.jsonl"))) == collection


def test_a_folder_whose_name_has_nothing_for_a_collection_needs_the_option(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--collection"):
        collection_of(find_dataset(files(tmp_path / "数据", "corpus.jsonl")))


def test_the_name_is_the_folder_s_own_from_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files(tmp_path / "facts", "corpus.jsonl"))
    assert find_dataset(Path(".")).name == "facts"
