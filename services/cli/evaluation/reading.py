"""Reads queries, judgements and questions; a line that is wrong ends the reading and is named.

An evaluation over what happened to be readable would be another evaluation, so nothing is skipped here.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.cli.errors import CommandError
from services.cli.sources import open_plain

# query id -> document id -> relevance
Judgements = dict[str, dict[str, int]]

QRELS_COLUMNS: Final = 3


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answers (none when it can't be answered) and the documents that hold them."""

    question_id: str
    text: str
    answers: tuple[str, ...]
    impossible: bool
    supporting_ids: tuple[str, ...]


def read_queries(path: Path) -> dict[str, str]:
    """Return query id -> text."""
    return {_identifier(fields, place): _text(fields, "text", place) for place, fields in read_objects(path)}


def read_questions(path: Path) -> list[Question]:
    """Return the questions in their order."""
    return [_question(fields, place) for place, fields in read_objects(path)]


def read_judgements(paths: tuple[Path, ...]) -> Judgements:
    """Return the relevances of all files together; BEIR's header line is recognised by its last column."""
    found: Judgements = {}
    for path in paths:
        for number, line in _numbered(path):
            columns = line.split("\t")
            if number == 1 and not _is_integer(columns[-1]):
                continue
            if len(columns) != QRELS_COLUMNS or not _is_integer(columns[-1]):
                raise CommandError(f"{path}:{number} must hold query id, document id and relevance, divided by tabs")
            query_id, document_id, relevance = columns
            found.setdefault(query_id, {})[document_id] = int(relevance)
    return found


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `file:line` and the JSON object of every line that is not empty."""
    for number, line in _numbered(path):
        place = f"{path}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{place} is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise CommandError(f"{place} is not a JSON object")
        yield place, fields


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with open_plain(path) as lines:
            for raw in lines:
                number += 1
                line = raw.decode("utf-8-sig").rstrip("\r\n")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}:{number} is not UTF-8: {error.reason}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CommandError(f"{path}:{number + 1} cannot be read on: {error}") from None


def _question(fields: dict[str, Any], place: str) -> Question:
    answers = _texts(fields, "answers", place)
    impossible = bool(fields.get("is_impossible", False))
    if not answers and not impossible:
        raise CommandError(f'{place} has no "answers", and "is_impossible" does not say that there are none')
    supporting = _texts(fields, "supporting_ids", place)
    if not supporting and fields.get("context_id") is not None:
        supporting = (_text(fields, "context_id", place),)
    return Question(_identifier(fields, place), _text(fields, "question", place), answers, impossible, supporting)


def _identifier(fields: dict[str, Any], place: str) -> str:
    value = fields.get("_id", fields.get("id"))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise CommandError(f'{place} has no "_id" (or "id") that is a text or a whole number')
    return value


def _text(fields: dict[str, Any], name: str, place: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise CommandError(f'{place} has no "{name}" that is a text')
    return value


def _texts(fields: dict[str, Any], name: str, place: str) -> tuple[str, ...]:
    value = fields.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CommandError(f'{place}: "{name}" must be a list of texts')
    return tuple(value)


def _is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True
