"""Follow-up questions that are made to stand alone by rule."""

import pytest

from contracts.conversations import PastTurn
from services.agent.follow_ups import MAX_CHARACTERS, points_back, stand_alone

ASKED = "When did the harbour of Lindby open?"
HARBOUR = PastTurn(question=ASKED, answer="The harbour of Lindby opened in 1887. [1]", answered=True)
BUILDER = PastTurn(
    question="Who built the lighthouse?",
    answer="It was built by Greta Holm, an engineer from Ystad. [1]",
    answered=True,
)


@pytest.mark.parametrize(
    "question",
    [
        "How long is it?",
        "And who owns it?",
        "What are its fees?",
        "And in winter?",
        "Why?",
        "What about the museum?",
        "Who pays for that?",
        "How many boats are there?",
        "Is there another one?",
        "And why is that allowed?",
    ],
)
def test_a_question_that_points_back_is_read_behind_the_one_before(question: str) -> None:
    assert stand_alone(question, HARBOUR) == f"{ASKED} {question}"


@pytest.mark.parametrize(
    "question",
    [
        "What does a ticket to the museum cost?",
        "How long does it take to parse a large PDF?",
        "Is it possible to rename a collection?",
        "Which setting bounds the number of retries that a message gets?",
        "Is there a limit to the size of a document?",
        "Who approves that invoices are paid before their last day?",
    ],
)
def test_a_question_that_stands_alone_stays(question: str) -> None:
    assert not points_back(question)
    assert stand_alone(question, HARBOUR) == question


@pytest.mark.parametrize(
    ("question", "named"),
    [("Where was she born?", "Where was Greta Holm born?"), ("Who taught her?", "Who taught Greta Holm?")],
)
def test_a_person_is_named(question: str, named: str) -> None:
    assert stand_alone(question, BUILDER) == f"{BUILDER.question} {named}"


def test_a_person_that_no_answer_names_stays_a_pronoun() -> None:
    assert stand_alone("Where was she born?", HARBOUR) == f"{ASKED} Where was she born?"


def test_a_long_conversation_is_its_first_question_and_its_last() -> None:
    before = HARBOUR
    for question in ("Who owns it?", "Since when?", "And why?"):
        before = before.model_copy(update={"question": stand_alone(question, before)})
    assert before.question == f"{ASKED} Since when? And why?"


def test_a_question_never_grows_without_bound() -> None:
    long = PastTurn(question=f"What is {'x ' * MAX_CHARACTERS}?", answer="")
    assert stand_alone("Why?", long) == "Why?"
