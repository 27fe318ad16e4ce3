"""The whole loop: INGEST, parser, persistence, facts, retriever; the real handlers on streams and an index in memory.

    INGEST ──► parser ──► batches ──► retriever: points ──► chunks.indexed ─┐
       └─────► persistence: fence, commit, facts ◄──────── document.parsed ◄┘
                                          └──► retriever-cleanup: fences, removals

Every handler stops before each of its side effects: a write, a commit, a publish, the acknowledgement. Whoever drives
the loop decides how far it goes, whether it dies there, what else happens meanwhile, and what comes a second time.
"""

import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeVar, cast

import numpy as np
from nats.js.object_store import ObjectStore

from contracts import subjects, topology
from contracts.chunks import ChunksEmbedded, EmbeddedChunk, chunk_id
from contracts.codec import DecodeError, decode
from contracts.documents import IngestMessage
from contracts.facts import DocumentIndexed, DocumentParsed
from contracts.retrieval import FenceReply, FenceRequest
from services.persistence.dead_letter import DeadLetter
from services.persistence.events import MessageEvent
from services.persistence.handlers import MessageHandlers
from services.persistence.nats_streams import NatsStreams
from services.persistence.read_pool import ReadPool
from services.persistence.sweeping import Sweeping
from services.persistence.unit_of_work import GroupCommit
from services.retriever.epochs import Epochs, StoredEpochs
from services.retriever.generations import Catalogue, Generation, Generations
from services.retriever.handlers import RetrieverHandlers
from services.retriever.index import IndexQuery, Vector
from services.retriever.indexing import Indexing
from services.retriever.reindexing import Reindexing
from services.retriever.visibility import search_visible
from services.retriever.writing import Writing
from shared.errors import InvalidMessage, Rejected
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.policy import reason_of
from shared.messaging.publishing import Publisher, message_id
from shared.messaging.requests import Requester
from tests.unit.convergence.ledgers import Ledger
from tests.unit.convergence.streams import Message, SteppedIndex, StreamPublisher, Streams, gap

T = TypeVar("T")
TENANT: Final = "acme"
MODEL: Final = "model-a"
DIMENSION: Final = 2
UNREADABLE: Final = "unreadable"
# A search sees every point there is, so that nothing hides behind its limit.
SEARCHED: Final = (None, "default")
SEARCH_LIMIT: Final = 500
MANY_ROUNDS: Final = 50
SIZE_OF_REVISION: Final = 100
# Of all steps of a storm; what is left of a half goes on, the other half begins.
SEARCHES: Final = 0.1
BETWEEN_TWO_READS: Final = 3
TO_ITS_END: Final = 20
REPETITIONS: Final = 0.05
HALF: Final = 0.5
DEATHS: Final = 0.3
ONE_VECTOR: Final[Vector] = np.array([1.0, 0.0], dtype=np.float32)


@dataclass
class Work:
    """A handler that stands in a gap; `message` is None for a search."""

    coroutine: Coroutine[Any, Any, None]
    message: Message | None


@dataclass
class Loop:
    """The loop over one ledger; `disturbed` tells whether anything died or came twice."""

    ledger: Ledger
    streams: Streams = field(default_factory=Streams)
    running: list[Work] = field(default_factory=list)
    acknowledged: list[Message] = field(default_factory=list)
    buried: list[Message] = field(default_factory=list)
    disturbed: bool = False
    # What searches have shown, by collection and epoch, kept as long as the loop runs.
    kept: dict[tuple[str | None, str], dict[str, set[int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index = SteppedIndex(dimension=DIMENSION, fingerprint=MODEL)
        publisher = StreamPublisher(self.streams)
        self._letters = DeadLetters(publisher, cast(ObjectStore, None), max_payload_bytes=2**20)
        generations = Generations(cast(Catalogue, None), [Generation(MODEL, self.index)], active=MODEL, next_model=None)
        # Those that replicas share: no death of one of them begins anew what the others count.
        self._epochs = StoredEpochs(generations)
        self._handlers = _handlers(self.ledger, generations, self._epochs, publisher)

    def ingest(self, payload: dict[str, Any]) -> None:
        """Publish an ingestion message, as any producer does."""
        self.streams.append(subjects.ingest(TENANT), json.dumps(payload).encode(), {})

    def deliver(self, pick: int, gaps: int, dies: bool) -> None:
        """Give a waiting message to its consumer, which gets so far, and stops or dies there."""
        message = _taken(self.streams.waiting, pick)
        self._drive(Work(self._consume(message), message), gaps, dies)

    def search(self, gaps: int) -> None:
        """Begin a search of everything and one of a collection."""
        for collection in SEARCHED:
            self._drive(Work(self._search(collection), None), gaps, dies=False)

    def go_on(self, pick: int, gaps: int, dies: bool) -> None:
        """Let what stands in a gap get further."""
        self._drive(_taken(self.running, pick), gaps, dies)

    def kill(self, pick: int) -> None:
        """End everything that one consumer has in work, as the death of its process does."""
        consumer = self.running[pick % len(self.running)].message
        for work in list(self.running):
            if work.message and consumer and work.message.consumer == consumer.consumer:
                self.running.remove(work)
                self._drive(work, 0, dies=True)

    def redeliver(self, pick: int) -> None:
        """Have a message come again that is in work, or whose acknowledgement was lost."""
        self.disturbed = True
        known = self.acknowledged + [work.message for work in self.running if work.message]
        self.streams.waiting.append(known[pick % len(known)].again())

    def bury(self, pick: int) -> None:
        """Have a batch of chunks end as a dead letter."""
        message = self.batches[pick % len(self.batches)]
        self.streams.waiting.remove(message)
        self.buried.append(message)
        _finish(self._letters.bury(message.delivery(), reason_of(Rejected("the model is gone", code="model_gone"))))

    def replay(self, pick: int) -> None:
        """Give a dead batch back to its consumer."""
        self.streams.waiting.append(_taken(self.buried, pick))

    @property
    def batches(self) -> Sequence[Message]:
        """Return the batches of chunks that wait for the retriever."""
        return [message for message in self.streams.waiting if message.consumer is topology.RETRIEVER]

    def storm(self, order: Random, steps: int) -> None:
        """Let so many things happen that nobody chose one by one: work, deaths, repetitions, searches."""
        for _ in range(steps):
            pick, gaps, chance = order.randrange(2**16), order.randrange(6), order.random()
            if chance < SEARCHES:
                self.search(BETWEEN_TWO_READS if pick % 2 else TO_ITS_END)
            elif chance < SEARCHES + REPETITIONS and self.acknowledged:
                self.redeliver(pick)
            elif self.running and chance < HALF:
                self.go_on(pick, gaps, dies=order.random() < DEATHS)
            elif self.streams.waiting:
                self.deliver(pick, gaps, dies=order.random() < DEATHS)

    def settle(self, order: Random) -> None:
        """Let everything that waits be done, in any order, without a crash."""
        while self.running or self.streams.waiting:
            pick, gaps = order.randrange(2**16), order.randrange(8)
            if self.running and (not self.streams.waiting or order.random() < HALF):
                self.go_on(pick, gaps, dies=False)
            else:
                self.deliver(pick, gaps, dies=False)

    def repeat_everything(self) -> None:
        """Have every message that was ever acknowledged come again, long after the dedupe window."""
        self.disturbed = True
        self.streams.forget_ids()
        self.streams.waiting += [message.again() for message in self.acknowledged]
        self.acknowledged.clear()

    def _drive(self, work: Work, gaps: int, dies: bool) -> None:
        if _advanced(work.coroutine, gaps):
            if work.message is not None:
                self.acknowledged.append(work.message)
        elif dies:
            self.disturbed = True
            work.coroutine.close()
            if work.message is not None:
                self.streams.waiting.append(work.message.again())
        else:
            self.running.append(work)

    async def _consume(self, message: Message) -> None:
        delivery = message.delivery()
        try:
            await self._handlers[message.consumer.name](delivery)
        except (Rejected, DecodeError) as error:
            await self._letters.bury(delivery, reason_of(error))
        await gap()

    async def _search(self, collection: str | None) -> None:
        """Search, or take what was kept of a search; hold the result against what was true when it began."""
        gone, fences, told = dict(self.ledger.gone), dict(self.index.raised), self._told_visible()
        place = (collection, await self._epochs.current(TENANT, collection))
        shown, fresh = self.kept.get(place), place not in self.kept
        if shown is None:
            shown = self.kept[place] = await self._shown(collection)
        for document_id, revisions in shown.items():
            assert len(revisions) == 1, f"a search mixed revisions {revisions} of {document_id}"
            least = gone.get(document_id, 0)
            assert min(revisions) > least, f"a search showed {document_id} as of {revisions}, deleted as of {least}"
        if fresh and collection is None:
            for key, fence in fences.items():
                stays = fence.visible > 0 and fence.visible >= self.index.raised[key].floor
                missed = f"a search missed {fence.document_id} as of {fence.visible}"
                assert not stays or fence.document_id in shown, missed
        for document_id, (revision, home) in told.items():
            fence = self.index.raised[TENANT, document_id]
            if fence.visible == revision >= fence.floor and collection in (None, home):
                what = f"{document_id} as of {revision}"
                assert shown.get(document_id) == {revision}, f"everybody was told of {what}, but not shown: {shown}"

    async def _shown(self, collection: str | None) -> dict[str, set[int]]:
        query = IndexQuery(tenant=TENANT, limit=SEARCH_LIMIT, vector=ONE_VECTOR, collection=collection)
        shown: dict[str, set[int]] = {}
        for hit in await search_visible(self.index, query, max_rounds=MANY_ROUNDS):
            shown.setdefault(hit.document_id, set()).add(hit.revision)
        return shown

    def _told_visible(self) -> dict[str, tuple[int, str]]:
        """Return the last revision of each document that the retriever has shown for good, and its collection."""
        told: dict[str, tuple[int, str]] = {}
        for message in self.acknowledged:
            if message.consumer is topology.CLEANUP and message.entry.subject == subjects.DOCUMENT_INDEXED:
                fact = decode(DocumentIndexed, message.entry.payload)
                told[fact.document_id] = max(told.get(fact.document_id, (0, "")), (fact.revision, fact.collection))
        return told


class PayloadsInLetters:
    """Stands where persistence reads payloads that were too large for their letters, of which there are none."""

    async def payload_of(self, letter: DeadLetter) -> bytes:
        """Return the payload that the letter holds."""
        return letter.payload


class NoCollectionDeletes:
    """Stands where persistence deletes whole collections, of which these histories hold none."""

    async def catch_up(self, event: MessageEvent, collection: str) -> None:
        """Find no delete that outdates the document."""


async def _right_numbering(_sequence: int) -> bool:
    """These histories keep their INGEST."""
    return True


def _handlers(
    ledger: Ledger, generations: Generations, epochs: Epochs, publisher: Publisher
) -> dict[str, Callable[[Delivery], Awaitable[None]]]:
    writing = Writing(generations, lambda each: Indexing(each.index, model=each.model), _embed_nothing, epochs)
    retriever = RetrieverHandlers(generations, writing, {}, cast(Reindexing, None), publisher, epochs)
    persistence = MessageHandlers(
        cast(GroupCommit, ledger),
        cast(ReadPool, None),
        publisher,
        cast(Requester, FenceRequester(writing)),
        cast(NatsStreams, PayloadsInLetters()),
        cast(Sweeping, NoCollectionDeletes()),
        _right_numbering,
    )
    return {
        topology.PARSER.name: Parser(publisher).on_ingest,
        topology.INTAKE.name: persistence.on_ingest,
        topology.PERSISTENCE.name: persistence.on_fact,
        topology.DEAD_LETTERS.name: persistence.on_dead_letter,
        topology.RETRIEVER.name: lambda delivery: retriever.on_chunks_embedded(
            decode(ChunksEmbedded, delivery.payload), delivery
        ),
        topology.CLEANUP.name: retriever.on_fact,
    }


class FenceRequester:
    """Asks the retriever to hide what was deleted; both the request and the reply may be lost."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    async def ask(self, subject: str, request: FenceRequest, reply: type[FenceReply]) -> FenceReply:
        assert (subject, reply) == (subjects.INDEX_FENCE, FenceReply)
        await gap()
        fence = await self._writing.raise_floor(request.tenant, request.document_id, request.floor)
        await gap()
        return FenceReply(floor=fence.floor)


class Parser:
    """Makes as many batches of one chunk as the text says, in the order in which the real one publishes."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def on_ingest(self, delivery: Delivery) -> None:
        message = decode(IngestMessage, delivery.payload)
        if message.op == "delete":
            return
        if message.text == UNREADABLE:
            raise InvalidMessage("cannot be read", code="corrupt", field="text")
        batches = int(message.text or "")
        for number in range(batches):
            batch = _batch(message, delivery, number)
            identity = message_id(batch.document_id, batch.revision, "vectors", number)
            await self._publisher.publish(subjects.CHUNKS_EMBEDDED, batch, tenant=TENANT, message_id=identity)
        await self._publisher.publish_fact(
            DocumentParsed(
                tenant=TENANT,
                document_id=message.derived_id(),
                revision=delivery.sequence,
                batches=batches,
                chunks=batches,
                characters=1,
                media_type="text/plain",
                size_bytes=size_of(delivery.sequence),
            )
        )


def size_of(revision: int) -> int:
    """Return what the parser finds a revision to be; the messages themselves look smaller."""
    return SIZE_OF_REVISION * revision


def _batch(message: IngestMessage, delivery: Delivery, number: int) -> ChunksEmbedded:
    document_id, revision = message.derived_id(), delivery.sequence
    chunk = EmbeddedChunk(
        ordinal=number,
        chunk_id=chunk_id(TENANT, document_id, revision, number),
        text=f"{document_id} {revision} {number}",
        vector=ONE_VECTOR.tobytes(),
    )
    return ChunksEmbedded(
        tenant=TENANT,
        document_id=document_id,
        revision=revision,
        collection=message.collection,
        batch=number,
        model=MODEL,
        dimension=DIMENSION,
        chunks=[chunk],
    )


async def _embed_nothing(model: str, texts: Sequence[str]) -> list[Vector]:
    raise AssertionError(f"nothing is to be embedded again, but {len(texts)} texts were with {model}")


def _taken(items: list[T], pick: int) -> T:
    return items.pop(pick % len(items))


def _advanced(coroutine: Coroutine[Any, Any, None], gaps: int) -> bool:
    """Pass so many gaps beyond the one it stands in; tell whether the end was reached."""
    try:
        for _ in range(gaps):
            coroutine.send(None)
    except StopIteration:
        return True
    return False


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    while not _advanced(coroutine, 1):
        pass
