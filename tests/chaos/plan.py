"""What is sent in a chaos run and what must come of it: everything follows from the seed.

documents   texts that carry their own marker, edition and numbered sentences, so that a chunk tells what it is of
histories   the writes of one document in their order, each at its planned moment
endings     what the last write must leave behind
"""

import base64
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

COLLECTION: Final = "chaos"
OPENING: Final = "docxfirst"
UPDATED_SHARE: Final = 0.10
DELETED_SHARE: Final = 0.10
POISON_SHARE: Final = 0.02
# Of the deleted ones: sent again after the delete.
REVIVED_SHARE: Final = 0.10
# Several batches each, so that a document is complete only when all of them are; every line is a chunk of its own.
LONG_SHARE: Final = 0.02
LONG_SENTENCES: Final = 150
# Over the broker's message limit, so that they go through the object store; nearly all of it is not text.
BULKY_SHARE: Final = 0.01
BULKY_BYTES: Final = 1_200_000
NATS_SHARE: Final = 0.5
# A later write of a document follows at once (the earlier one is then still under way) or after a while.
AT_ONCE_SHARE: Final = 0.5
# So many writes come within a moment before something is done to a process: what is in its hands then is what counts.
TIMED_SHARE: Final = 0.5
TIMED_SECONDS: Final = 0.8
_NOUNS: Final = (
    "harbour",
    "lantern",
    "orchard",
    "glacier",
    "violin",
    "compass",
    "meadow",
    "furnace",
    "bridge",
    "parcel",
)
_VERBS: Final = (
    "opens",
    "closes",
    "gathers",
    "carries",
    "follows",
    "repeats",
    "answers",
    "crosses",
    "measures",
    "keeps",
)


class Channel(StrEnum):
    """How a write reaches the platform."""

    HTTP = "http"
    NATS = "nats"


class Ending(StrEnum):
    """What the last write of a document must leave behind."""

    INDEXED = "indexed"
    DELETED = "deleted"
    FAILED = "failed"
    # A message that names no document: nothing but its dead letter.
    NAMELESS = "nameless"


@dataclass(frozen=True, slots=True)
class Write:
    """One message; `content` is the HTTP document or the raw NATS payload, None for a delete over HTTP.

    `key` is its idempotency key and its `Nats-Msg-Id`. `at` is seconds after the start, and never before the document's
    earlier writes are acknowledged.
    """

    key: str
    document_id: str
    channel: Channel
    at: float
    ending: Ending
    edition: int = 1
    sentences: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes | None = None
    code: str | None = None

    @property
    def deletes(self) -> bool:
        """Tell whether this is a delete."""
        return self.ending is Ending.DELETED

    @property
    def is_poison(self) -> bool:
        """Tell whether this must end as a dead letter."""
        return self.code is not None

    @property
    def message(self) -> bytes:
        """Return what is published on NATS."""
        return self.payload if self.payload is not None else json.dumps(dict(self.fields)).encode()


@dataclass(frozen=True, slots=True)
class Plan:
    """All histories by document id, in the order of their first writes."""

    seed: int
    seconds: float
    histories: Mapping[str, Sequence[Write]]

    @property
    def opening(self) -> Write:
        """Return the write that goes before all others and makes the collection."""
        return self.histories[OPENING][0]

    @property
    def writes(self) -> int:
        """Return how many writes there are."""
        return sum(len(history) for history in self.histories.values())

    @property
    def deleted(self) -> frozenset[str]:
        """Return the documents that end deleted."""
        return frozenset(name for name, history in self.histories.items() if history[-1].deletes)

    def count(self, ending: Ending) -> int:
        """Return how many documents end so."""
        return sum(history[-1].ending is ending for history in self.histories.values())


def make_plan(seed: int, documents: int, seconds: float, moments: Sequence[float] = ()) -> Plan:
    """Return what to send within `seconds`, half of it just before one of the `moments`.

    The same arguments give the same plan.
    """
    return _Planner(seed, documents, seconds, moments).plan()


def sentence(document_id: str, edition: int, number: int) -> str:
    """Return one sentence; its last words say which document, edition and place it is of."""
    words = random.Random(f"{document_id}/{edition}/{number}")
    return (
        f"The {words.choice(_NOUNS)} {words.choice(_VERBS)} the {words.choice(_NOUNS)} of {document_id}"
        f" in edition e{edition} line n{number}."
    )


def text_of(document_id: str, edition: int, sentences: int) -> str:
    """Return the text of one edition of a document, eight sentences a paragraph."""
    lines = [sentence(document_id, edition, number) for number in range(sentences)]
    paragraphs = [" ".join(lines[start : start + 8]) for start in range(0, sentences, 8)]
    return "\n\n".join(paragraphs)


def sections_of(document_id: str, edition: int, sentences: int) -> str:
    """Return the same lines as Markdown, each under a heading of its own."""
    lines = (sentence(document_id, edition, number) for number in range(sentences))
    return "\n\n".join(f"## Part {number}\n\n{line}" for number, line in enumerate(lines))


class _Planner:
    def __init__(self, seed: int, documents: int, seconds: float, moments: Sequence[float]) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._documents = documents
        self._seconds = seconds
        self._moments = sorted(moments)

    def plan(self) -> Plan:
        poison = max(len(_POISON), round(self._documents * POISON_SHARE))
        names = [f"doc{self._seed:x}x{number:04d}" for number in range(self._documents)]
        shuffled = self._random.sample(names, len(names))
        poisoned, sound = shuffled[:poison], shuffled[poison:]
        updated, deleted = self._share(UPDATED_SHARE), self._share(DELETED_SHARE)
        histories = {name: self._poison(name, number) for number, name in enumerate(poisoned)}
        for number, name in enumerate(sound):
            if number < updated:
                histories[name] = self._updated(name)
            elif number < updated + deleted:
                revived = number - updated < max(1, round(deleted * REVIVED_SHARE))
                histories[name] = self._deleted(name, revived=revived)
            else:
                histories[name] = [self._upsert(name, self._first())]
        ordered = sorted(histories, key=lambda name: histories[name][0].at)
        return Plan(self._seed, self._seconds, {OPENING: [_opening()], **{name: histories[name] for name in ordered}})

    def _share(self, share: float) -> int:
        return max(2, round(self._documents * share))

    def _first(self) -> float:
        # The last tenth of the time belongs to the last updates and deletes.
        return self._between(0.0, self._seconds * 0.9)

    def _later(self, at: float) -> float:
        return at if self._random.random() < AT_ONCE_SHARE else self._between(at, self._seconds)

    def _between(self, start: float, end: float) -> float:
        near = [moment for moment in self._moments if start + TIMED_SECONDS <= moment <= end]
        if near and self._random.random() < TIMED_SHARE:
            return self._random.choice(near) - self._random.uniform(0, TIMED_SECONDS)
        return self._random.uniform(start, end)

    def _channel(self) -> Channel:
        return Channel.NATS if self._random.random() < NATS_SHARE else Channel.HTTP

    def _updated(self, name: str) -> list[Write]:
        history = [self._upsert(name, self._first())]
        for edition in range(2, self._random.choice((3, 3, 4))):
            history.append(self._upsert(name, self._later(history[-1].at), edition))
        return history

    def _deleted(self, name: str, *, revived: bool) -> list[Write]:
        first = self._upsert(name, self._first())
        delete = self._delete(name, self._later(first.at))
        return [first, delete, self._upsert(name, self._later(delete.at), 2)] if revived else [first, delete]

    def _delete(self, name: str, at: float) -> Write:
        channel = self._channel()
        fields = {"op": "delete", "id": name, "collection": COLLECTION}
        return Write(f"{name}-delete", name, channel, at, Ending.DELETED, fields=fields)

    def _upsert(self, name: str, at: float, edition: int = 1) -> Write:
        size = self._random.random()
        fields: dict[str, Any] = {"id": name, "collection": COLLECTION, "metadata": {"edition": edition}}
        channel = self._channel()
        sentences = self._random.choice((3, 4, 8, 15, 30, 60))
        if size < LONG_SHARE:
            sentences = LONG_SENTENCES
            fields |= {"media_type": "text/markdown", "text": sections_of(name, edition, sentences)}
            return self._writing(name, channel, at, edition, sentences, fields)
        text = text_of(name, edition, sentences)
        if LONG_SHARE <= size < LONG_SHARE + BULKY_SHARE:
            # The object store is the gateway's to fill: a producer of its own would have to do it itself.
            channel = Channel.HTTP
            fields |= {"media_type": "text/html", "content": base64.b64encode(_bulky_page(text)).decode()}
        else:
            fields["text"] = text
        return self._writing(name, channel, at, edition, sentences, fields)

    def _writing(
        self, name: str, channel: Channel, at: float, edition: int, sentences: int, fields: Mapping[str, Any]
    ) -> Write:
        key = f"{name}-{edition}"
        return Write(key, name, channel, at, Ending.INDEXED, edition=edition, sentences=sentences, fields=fields)

    def _poison(self, name: str, number: int) -> list[Write]:
        kind = _POISON[number % len(_POISON)]
        return [
            Write(
                f"{name}-poison",
                name,
                kind.channel,
                self._first(),
                kind.ending,
                fields={"id": name, "collection": COLLECTION, **kind.fields},
                payload=kind.payload.replace(b"NAME", name.encode()) if kind.payload is not None else None,
                code=kind.code,
            )
        ]


def _opening() -> Write:
    fields = {"id": OPENING, "collection": COLLECTION, "text": text_of(OPENING, 1, 1)}
    return Write(OPENING, OPENING, Channel.HTTP, 0.0, Ending.INDEXED, sentences=1, fields=fields)


@dataclass(frozen=True, slots=True)
class _Poison:
    code: str
    channel: Channel
    ending: Ending = Ending.FAILED
    fields: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes | None = None


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


_POISON: Final = (
    _Poison("corrupt", Channel.HTTP, fields={"content": _b64(b"%PDF-1.7\nnothing"), "media_type": "application/pdf"}),
    _Poison("invalid_message", Channel.NATS, payload=b'{"id": "NAME", "collection": "chaos", "text": 1, "content": 2}'),
    _Poison("object_missing", Channel.NATS, fields={"object": "no/such/object", "media_type": "text/plain"}),
    _Poison("invalid_message", Channel.NATS, Ending.NAMELESS, payload=b"this is no JSON, it is of NAME"),
    _Poison("no_text", Channel.HTTP, fields={"content": _b64(b"  \n \n"), "media_type": "text/plain"}),
)


def _bulky_page(text: str) -> bytes:
    paragraphs = "".join(f"<p>{part}</p>" for part in text.split("\n\n"))
    padding = "<!-- " + "x" * BULKY_BYTES + " -->"
    return f"<html><head><title>Bulky</title></head><body>{padding}{paragraphs}</body></html>".encode()
