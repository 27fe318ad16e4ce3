"""Row f: time to the first piece of an answer, with a language model that takes no time, beside its parts."""

import contextlib
import json
import random
from typing import Any, Final

from tests.load.answers import Bench, Endpoint
from tests.load.answers_parts import times_to_first_piece
from tests.load.bench.arithmetic import quantile
from tests.load.bench.row import Row, Yardstick, at_most
from tests.load.bench.stand import Stand
from tests.load.made_documents import question
from tests.load.reference import Reference

LETTER: Final = "f"
TITLE: Final = "time to the first piece of an answer"
P95_MS: Final = 250.0
LIMITED_USERS: Final = 32
COLLECTION: Final = "asked"
NAME: Final = "embedding, look-up and the same model's first piece in process"


def measure(stand: Stand) -> list[Row]:
    """Return p50 and p95 by the number of users."""
    chosen = random.Random(stand.seed)
    questions = [question(chosen) for _ in range(1_000)]
    texts = stand.folder / "questions.json"
    texts.write_text(json.dumps(questions), encoding="utf-8")
    with contextlib.closing(Endpoint(f"{COLLECTION}-0")) as endpoint:
        settings = {"RAG_LLM_BASE_URL": endpoint.url, "RAG_LLM_MODEL": "scripted"}
        with stand.platform(**settings) as platform:
            platform.fill(stand.sizes.documents, COLLECTION, sentences=4)
            bench = Bench(platform.running, endpoint, texts, COLLECTION, stand.sizes.questions)
            found = bench.first_deltas(stand.sizes.rounds)
        stand.say("f: the parts in process")
        with Reference(stand.folder / "data" / "index", collection=COLLECTION) as reference:
            parts = {
                users: [_parts(reference, endpoint.url, questions, users, count) for _ in range(stand.sizes.rounds)]
                for users, count in stand.sizes.questions.items()
            }
    return [row for users in stand.sizes.questions for row in rows(users, found[str(users)], parts[users])]


def rows(users: int, found: list[dict[str, Any]], parts: list[list[float]]) -> list[Row]:
    """Return p50 and p95 of one number of users; RuntimeError when questions failed or came from a cache."""
    for run in found:
        if run["errors"] or run["cached"]:
            raise RuntimeError(f"{users} users: {run['errors']}, {run['cached']} answers from a cache")
    who = f"first piece of an answer, {users} user{'s' if users > 1 else ''}"
    limits = {0.5: None, 0.95: at_most(P95_MS) if users == LIMITED_USERS else None}
    made = []
    for share, limit in limits.items():
        rounds = tuple(quantile(run["first_ms"], share) for run in found)
        beside = Yardstick(NAME, tuple(quantile(one, share) for one in parts))
        name = f"{who}: p{share * 100:g}"
        # The limit is in milliseconds, so the yardstick has a row of its own where there is one.
        made += [Row(LETTER, name, "ms", rounds, None if limit else beside, limit=limit)]
        made += [Row(LETTER, f"{name}, {NAME}", "ms", beside.rounds)] if limit else []
    return made


def _parts(reference: Reference, url: str, questions: list[str], users: int, count: int) -> list[float]:
    asked = [f"{questions[number % len(questions)]} (case {number})" for number in range(count)]
    return times_to_first_piece(reference, url, asked, users)
