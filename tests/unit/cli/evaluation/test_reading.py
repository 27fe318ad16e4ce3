"""Queries, judgements and questions out of files."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.cli.errors import CommandError
from services.cli.evaluation.reading import Question, read_judgements, read_queries, read_questions


def write(path: Path, *lines: str | dict[str, Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_queries_are_known_by_their_id_packed_or_not(tmp_path: Path) -> None:
    plain = write(tmp_path / "q.jsonl", {"_id": "a", "text": "What?"}, "", {"_id": 7, "text": "Où?"})
    packed = tmp_path / "q.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_queries(plain) == read_queries(packed) == {"a": "What?", "7": "Où?"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"_id": "b", ', "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"text": "x"}', 'has no "_id"'),
        ('{"_id": true, "text": "x"}', 'has no "_id"'),
        ('{"_id": "b"}', 'has no "text"'),
        ('{"_id": "b", "text": " "}', 'has no "text"'),
    ],
)
def test_a_wrong_line_is_named_with_its_file_and_number(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "queries.jsonl", {"_id": "a", "text": "x"}, "", line)
    with pytest.raises(CommandError, match=re.escape(f"{path}:3 {reason}")):
        read_queries(path)


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b'{"_id": "a", "text": "x"}\n{"_id": "b", "text": "\xe9"}\n')
    with pytest.raises(CommandError, match=r"queries\.jsonl:2 is not UTF-8"):
        read_queries(path)


@pytest.mark.parametrize("broken", [gzip.compress(b'{"_id": "a", "text": "x"}\n' * 99)[:-20], b"not packed"])
def test_a_packed_file_that_is_damaged_is_named(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "queries.jsonl.gz"
    path.write_bytes(broken)
    with pytest.raises(CommandError, match=r"queries\.jsonl\.gz:\d+ cannot be read on"):
        read_queries(path)


def test_judgements_are_read_with_and_without_a_header(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tsv", "query-id\tcorpus-id\tscore", "1\td1\t2", "1\td2\t0")
    second = write(tmp_path / "b.tsv", "2\td 3\t1")
    assert read_judgements((first, second)) == {"1": {"d1": 2, "d2": 0}, "2": {"d 3": 1}}


@pytest.mark.parametrize("line", ["1\td1", "1 d1 1", "1\td1\tmuch", "1\t0\td1\t1"])
def test_a_wrong_judgement_is_named_with_its_file_and_number(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "qrels.tsv", "query-id\tcorpus-id\tscore", line)
    with pytest.raises(CommandError, match=re.escape(f"{path}:2 must hold")):
        read_judgements((path,))


def test_questions_say_what_would_answer_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "qa.jsonl",
        {"id": "a", "question": "When?", "answers": ["1891"], "context_id": "d1", "level": "easy"},
        {"id": "b", "question": "Who?", "answers": ["Ann", "Bea"], "supporting_ids": ["d1", "d2"], "context_id": "d9"},
        {"id": "c", "question": "Why?", "answers": [], "is_impossible": True},
    )
    assert read_questions(path) == [
        Question("a", "When?", ("1891",), impossible=False, supporting_ids=("d1",)),
        Question("b", "Who?", ("Ann", "Bea"), impossible=False, supporting_ids=("d1", "d2")),
        Question("c", "Why?", (), impossible=True, supporting_ids=()),
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({}, 'has no "answers"'), ({"answers": "1891"}, '"answers" must be a list'), ({"answers": [1]}, "list of texts")],
)
def test_a_question_without_answers_that_is_not_declared_impossible_is_refused(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path / "qa.jsonl", {"id": "a", "question": "When?", **fields})
    with pytest.raises(CommandError, match=reason):
        read_questions(path)
