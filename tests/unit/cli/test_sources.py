"""Which documents a path holds."""

import base64
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.cli import sources
from services.cli.sources import Broken, Document, SourceOptions, count_documents, find_sources, read_sources


def read(*paths: Path, **options: Any) -> list[Document | Broken]:
    return list(read_sources(find_sources(list(paths)), SourceOptions(**options)))


def fields(*paths: Path, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(item.body) for item in read(*paths, **options) if isinstance(item, Document)]


def problems(*paths: Path, **options: Any) -> list[tuple[str, str]]:
    return [(item.document_id, item.code) for item in read(*paths, **options) if isinstance(item, Broken)]


def lines(path: Path, *documents: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def test_a_file_is_known_by_its_path_below_what_was_given(tmp_path: Path) -> None:
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide" / "in tro.md").write_bytes(b"# Hello")
    [found] = fields(tmp_path)
    assert found == {
        "id": "guide/in tro.md",
        "collection": "default",
        "uri": "file:guide/in%20tro.md",
        "filename": "in tro.md",
        "content": base64.b64encode(b"# Hello").decode(),
        "metadata": {},
    }


def test_the_same_folder_gives_the_same_ids_from_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md").write_text("a")
    monkeypatch.chdir(tmp_path)
    assert fields(Path(".")) == fields(tmp_path) == fields(Path("a.md"))


def test_folders_are_read_in_one_order_and_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b/2.md", "b/1.md", "a.md", ".git/config", "b/.hidden", "__pycache__/a.pyc", "c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [found["id"] for found in fields(tmp_path)] == ["a.md", "c.md", "b/1.md", "b/2.md"]


def test_two_files_never_share_an_id_unnoticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(name)
    assert problems(tmp_path / "one", tmp_path / "two") == [(str(tmp_path / "two" / "README.md"), "duplicate_id")]
    assert fields(tmp_path / "two", id_prefix="two/")[0]["id"] == "two/README.md"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 10)
    (tmp_path / "big.bin").write_bytes(b"x" * 11)
    (tmp_path / "fits.bin").write_bytes(b"x" * 10)
    assert problems(tmp_path) == [("big.bin", "too_large")]
    assert len(fields(tmp_path)) == 1


def test_a_file_that_vanishes_is_a_failure_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("x")
    found = find_sources([tmp_path])
    (tmp_path / "gone.md").unlink()
    [broken] = list(read_sources(found, SourceOptions()))
    assert isinstance(broken, Broken)
    assert broken.code == "unreadable"


def test_a_name_that_is_not_utf8_can_still_be_sent(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    [found] = fields(tmp_path)
    assert found["id"] == "caf\N{REPLACEMENT CHARACTER}.txt"


def test_an_id_that_would_be_too_long_is_derived_from_the_address(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 200) / ("b" * 200)
    folder.mkdir(parents=True)
    (folder / "c.md").write_text("x")
    [found] = fields(tmp_path)
    assert found["id"].startswith("uri-")


def test_each_line_is_a_document(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "corpus.jsonl",
        {"_id": "d1", "title": "T", "text": "one", "metadata": {"year": 2026}, "unknown": 1},
        {"id": "d2", "text": "two", "collection": "papers", "uri": "https://x/2"},
        {"_id": 3, "text": "three"},
        {"text": "no id"},
    )
    found = fields(path)
    assert [item["id"] for item in found[:3]] == ["d1", "d2", "3"]
    assert found[3]["id"].startswith("sha-")
    assert (found[0]["title"], found[0]["metadata"], found[1]["collection"]) == ("T", {"year": 2026}, "papers")


def test_packed_lines_are_the_same_documents(tmp_path: Path) -> None:
    plain = lines(tmp_path / "corpus.jsonl", {"id": "a", "text": "x"}, {"id": "b", "text": "y"})
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert fields(packed) == fields(plain)
    assert count_documents(find_sources([packed]), SourceOptions()) == 2


def test_a_broken_line_is_reported_by_its_number_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id":"a","text":"x"}\n\nnot json\n[1]\n{"id":"b"}\n{"id":"c","text":"x","metadata":{"a":{}}}\n'
        b'\xff\xfe\n{"id":"z","text":"last"}'
    )
    assert [found["id"] for found in fields(path)] == ["a", "z"]
    assert problems(path) == [
        (f"{path}:3", "invalid_line"),
        (f"{path}:4", "invalid_line"),
        (f"{path}:5", "invalid_document"),
        (f"{path}:6", "invalid_document"),
        (f"{path}:7", "invalid_line"),
    ]


def test_a_line_that_is_too_long_is_skipped_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 64)
    path = lines(tmp_path / "corpus.jsonl", {"id": "a", "text": "x" * 500}, {"id": "b", "text": "y"})
    assert problems(path) == [(f"{path}:1", "too_large")]
    assert [found["id"] for found in fields(path)] == ["b"]


def test_a_packed_file_that_was_cut_off_gives_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress(
        b"".join(b'{"id":"%d","text":"%s"}\n' % (n, os.urandom(64).hex().encode()) for n in range(500))
    )
    path.write_bytes(whole[: len(whole) // 2])
    assert len(fields(path)) > 50
    assert [code for _, code in problems(path)] == ["unreadable"]


def test_lines_may_be_taken_as_a_plain_file(tmp_path: Path) -> None:
    path = lines(tmp_path / "corpus.jsonl", {"id": "a", "text": "x"}, {"id": "b", "text": "y"})
    [found] = fields(path, as_files=True)
    assert (found["id"], found["filename"]) == ("corpus.jsonl", "corpus.jsonl")


def test_what_the_command_line_says_holds_for_every_document(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", {"id": "a", "text": "x", "collection": "old", "metadata": {"k": 1, "own": True}})
    [found] = fields(path, collection="new", metadata={"k": 2})
    assert (found["collection"], found["metadata"]) == ("new", {"k": 2, "own": True})


def test_documents_are_counted_before_they_are_read(tmp_path: Path) -> None:
    lines(tmp_path / "c.jsonl", *({"id": str(number), "text": "x"} for number in range(7)))
    (tmp_path / "d.jsonl").write_text('{"id":"without newline","text":"x"}')
    (tmp_path / "a.md").write_text("a")
    assert count_documents(find_sources([tmp_path]), SourceOptions()) == 9


def test_lines_can_be_sent_with_a_prefix_and_with_some_of_their_fields_only(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", {"_id": "1", "title": "T", "text": "x", "metadata": {"a": {"b": 1}}})
    assert problems(path) == [(f"{path}:1", "invalid_document")]
    [found] = fields(path, line_id_prefix="set/", line_fields=frozenset({"id", "title", "text"}))
    assert found == {"id": "set/1", "collection": "default", "title": "T", "text": "x", "metadata": {}}
