"""What of a conversation goes into the model's window."""

from hypothesis import given
from hypothesis import strategies as st

from contracts.conversations import PastTurn
from services.agent.history import trim, turn_block

WORDS = st.lists(st.sampled_from(["harbour", "Lindby.", "opens", "in", "1887."]), max_size=40).map(" ".join)
TURNS = st.lists(st.builds(PastTurn, question=WORDS, answer=WORDS, answered=st.booleans()), max_size=8)


def count(text: str) -> int:
    return len(text.split())


def turn(number: int, sentences: int = 1) -> PastTurn:
    return PastTurn(question=f"Question {number}?", answer=" ".join(f"Sentence {n}." for n in range(sentences)))


@given(TURNS, st.integers(min_value=0, max_value=200))
def test_it_fits_is_the_end_of_the_conversation_and_leaves_none_out(turns: list[PastTurn], budget: int) -> None:
    kept = trim(turns, budget_tokens=budget, count_tokens=count)
    assert sum(count(turn_block(one)) for one in kept) <= budget
    last = turns[len(turns) - len(kept) :]
    assert [one.question for one in kept] == [one.question for one in last]
    assert kept[1:] == last[1:]
    assert all(whole.answer.startswith(one.answer) for whole, one in zip(last, kept, strict=True))


@given(TURNS)
def test_what_fits_whole_is_whole(turns: list[PastTurn]) -> None:
    assert trim(turns, budget_tokens=sum(count(turn_block(one)) for one in turns), count_tokens=count) == turns


def test_the_newest_turns_are_kept() -> None:
    kept = trim([turn(1), turn(2), turn(3)], budget_tokens=14, count_tokens=count)
    assert [one.question for one in kept] == ["Question 2?", "Question 3?"]


def test_an_answer_that_is_too_long_loses_its_last_sentences() -> None:
    (kept,) = trim([turn(1, sentences=50)], budget_tokens=11, count_tokens=count)
    assert kept.answer == "Sentence 0. Sentence 1. Sentence 2."


def test_a_question_without_an_answer_is_told_as_such() -> None:
    assert turn_block(PastTurn(question="Why?", answer="I found nothing.", answered=False)).endswith(
        "Assistant: (no answer was found)"
    )
