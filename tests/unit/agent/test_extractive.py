"""Choosing the sentences that answer, and choosing none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.retrieval import RetrievedChunk
from services.agent.calibration import Calibration, calibration_of
from services.agent.extractive import MAX_SENTENCES, Selection, candidates, select
from tests.unit.agent.library import TEXTS, chunk_of, vector_of

LENIENT = Calibration(least_evidence=0.0, least_coverage=0.0)
CHUNKS = [chunk_of(name, text, title=name.title()) for name, text in TEXTS.items()]


def selected(question: str, chunks: list[RetrievedChunk], calibration: Calibration = LENIENT) -> Selection:
    ranked = candidates(question, chunks, limit=16)
    similarities = [float(vector_of(question) @ vector_of(one.embedded_text)) for one in ranked]
    return select(ranked, similarities, calibration)


def texts_of(selection: Selection) -> list[str]:
    return [candidate.sentence.text for candidate in selection.candidates]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When did the harbour open?", "The harbour of Lindby opened in 1887."),
        ("Who built the lighthouse?", "Its lighthouse was built by Greta Holm, an engineer from Ystad."),
        ("On which day is the bakery closed?", "The bakery of Lindby closes on Mondays."),
        ("What does a ticket cost?", "Adults pay 7 crowns."),
    ],
)
def test_the_sentence_that_answers_comes_first(question: str, answer: str) -> None:
    assert texts_of(selected(question, CHUNKS))[0] == answer


@pytest.mark.parametrize(("question", "quoted"), [("When did the harbour open?", False), ("harbour", True)])
def test_a_question_that_is_written_down_somewhere_does_not_answer_itself(question: str, quoted: bool) -> None:
    text = f'Visitors often ask "{question}" at the desk.'
    found = candidates(question, [chunk_of("desk", text)], limit=16)
    assert [one.sentence.text for one in found] == ([text] if quoted else [])


def test_a_sentence_is_compared_under_its_title_and_lead() -> None:
    ticket = next(one for one in candidates("ticket cost", CHUNKS, limit=16) if "crowns" in one.sentence.text)
    assert ticket.embedded_text == "Museum: What does a ticket cost? Adults pay 7 crowns."


def test_a_title_cannot_push_its_sentence_out_of_the_models_window() -> None:
    (only,) = candidates("harbour", [chunk_of("d", "The harbour opened.", title="long " * 1_000)], limit=1)
    assert len(only.embedded_text) < 200
    assert only.embedded_text.endswith("The harbour opened.")


def test_no_more_candidates_than_allowed_and_the_promising_ones() -> None:
    filler = chunk_of("filler", " ".join(f"Nothing of note happened in week {n}." for n in range(100)))
    ranked = candidates("When did the harbour open?", [filler, *CHUNKS], limit=3)
    assert len(ranked) == 3
    assert "The harbour of Lindby opened in 1887." in [one.sentence.text for one in ranked]


def test_a_sentence_that_stands_in_two_passages_is_cited_once_from_the_better_one() -> None:
    better, worse = chunk_of("a", "The harbour opened.", 0.9), chunk_of("b", "The harbour\nopened.", 0.3)
    (only,) = candidates("harbour", [better, worse], limit=10)
    assert only.chunk.document_id == "a"


@pytest.mark.parametrize("chunks", [[], [chunk_of("d", "# Only a heading")]])
def test_where_there_is_no_sentence_there_is_no_answer(chunks: list[RetrievedChunk]) -> None:
    assert selected("harbour", chunks).candidates == ()


def test_a_hit_without_similarity_counts_by_its_words() -> None:
    (only,) = candidates("harbour", [chunk_of("d", "The harbour opened.", None)], limit=1)
    assert only.support == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("similarities", "count"),
    [([0.9, 0.9, 0.9, 0.9], MAX_SENTENCES), ([0.9, 0.8, 0.1, 0.1], 2), ([0.9, 0.5, 0.1, 0.1], 1)],
)
def test_further_sentences_only_when_they_come_close(similarities: list[float], count: int) -> None:
    ranked = candidates("boats", [chunk_of("d", "A came. B came. C came. D came.")], limit=4)
    chosen = select(ranked, similarities, LENIENT)
    assert len(chosen.candidates) == count
    assert chosen.candidates[0] == ranked[0]


@pytest.mark.parametrize(
    ("calibration", "answered"),
    [
        (Calibration(least_evidence=1.5, least_coverage=0.0), True),
        (Calibration(least_evidence=1.9, least_coverage=0.0), False),
        (Calibration(least_evidence=0.0, least_coverage=0.9), True),
        (Calibration(least_evidence=0.0, least_coverage=1.1), False),
    ],
)
def test_weak_evidence_is_no_answer(calibration: Calibration, answered: bool) -> None:
    ranked = candidates("harbour opened", [chunk_of("d", "The harbour opened.", 0.6)], limit=1)
    chosen = select(ranked, [0.9], calibration)
    assert bool(chosen.candidates) is answered
    assert chosen.evidence == pytest.approx(0.9 + 0.5 * 0.6 + 0.5)


def test_words_alone_decide_for_a_model_that_nobody_calibrated() -> None:
    unknown = calibration_of("some-new-model@remote.1024")
    assert texts_of(selected("When did the harbour open?", CHUNKS, unknown))
    assert not texts_of(selected("Which enzyme unwinds DNA during replication?", CHUNKS, unknown))


@pytest.mark.parametrize(
    "fingerprint", ["bge-small-en-v1.5-int8@68807e3ff2ab.d241a60d5e8f", "bge-small-en-v1.5-int8:f"]
)
def test_a_calibration_belongs_to_a_family_of_fingerprints(fingerprint: str) -> None:
    assert calibration_of(fingerprint) == calibration_of("bge-small-en-v1.5-int8")
    assert calibration_of(fingerprint) != calibration_of("all-minilm-l6-v2@1")


@given(st.lists(st.text(max_size=200), max_size=4), st.text(min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_every_chosen_sentence_is_a_verbatim_part_of_its_chunk(texts: list[str], question: str, seed: int) -> None:
    """INVARIANT: who opens the source finds the quote in it, character by character."""
    chunks = [chunk_of(str(n), text) for n, text in enumerate(texts)]
    ranked = candidates(question, chunks, limit=8)
    similarities = np.random.default_rng(seed).random(len(ranked)).tolist()
    for candidate in select(ranked, similarities, LENIENT).candidates:
        assert candidate.sentence.text in candidate.chunk.text
