"""Follow-up questions that are made to stand alone by rule."""

import pytest

from contracts.conversations import PastTurn
from services.agent.follow_ups import MAX_CHARACTERS, stand_alone, topic_of

HARBOUR = PastTurn(
    question="When did the harbour of Lindby open?", answer="The harbour of Lindby opened in 1887. [1]", answered=True
)
BUILDER = PastTurn(
    question="Who built the lighthouse?",
    answer="It was built by Greta Holm, an engineer from Ystad. [1]",
    answered=True,
)


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("When did the harbour of Lindby open?", "the harbour of Lindby"),
        ("Who built the lighthouse?", "the lighthouse"),
        ("What is RRF?", "RRF"),
        ("How long is a dead letter kept?", "a dead letter"),
        ("Which port does the gateway listen on?", "the gateway"),
        ("What happens to a message that cannot succeed?", "a message"),
        ("What does the embedder compute?", "the embedder"),
        ("How are dead letters sent again?", "dead letters"),
        ("How much does the X200 weigh?", "the X200"),
        ("Why?", ""),
    ],
)
def test_the_topic_is_what_a_question_is_about(question: str, topic: str) -> None:
    assert topic_of(question) == topic


@pytest.mark.parametrize(
    ("question", "before", "rewritten"),
    [
        ("How long is it?", HARBOUR, "How long is the harbour of Lindby?"),
        ("And who owns it?", HARBOUR, "Who owns the harbour of Lindby?"),
        ("What are its fees?", HARBOUR, "What are the harbour of Lindby's fees?"),
        ("Where was she born?", BUILDER, "Where was Greta Holm born?"),
        ("What was her profession?", BUILDER, "What was Greta Holm's profession?"),
        ("Who taught her?", BUILDER, "Who taught Greta Holm?"),
        ("When was he born?", HARBOUR, "When was the harbour of Lindby born?"),
        ("And in winter?", HARBOUR, "When did the harbour of Lindby open? And in winter?"),
        ("Why?", HARBOUR, "When did the harbour of Lindby open? Why?"),
        ("What about the museum?", HARBOUR, "When did the museum open?"),
        ("And the museum in summer?", HARBOUR, "When did the museum in summer open?"),
        ("Who pays for that?", HARBOUR, "Who pays for the harbour of Lindby?"),
        ("How many boats are there?", HARBOUR, "How many boats are in the harbour of Lindby?"),
        ("And why is that allowed?", HARBOUR, "When did the harbour of Lindby open? And why is that allowed?"),
    ],
)
def test_a_follow_up_gets_what_it_points_back_to(question: str, before: PastTurn, rewritten: str) -> None:
    assert stand_alone(question, before) == rewritten


@pytest.mark.parametrize(
    "question",
    [
        "What does a ticket to the museum cost?",
        "How long does it take to parse a large PDF?",
        "Is it possible to rename a collection?",
        "Which setting bounds the number of retries that a message gets?",
        "Is there a limit to the size of a document?",
    ],
)
def test_a_question_that_stands_alone_stays(question: str) -> None:
    assert stand_alone(question, HARBOUR) == question


def test_a_question_never_grows_without_bound() -> None:
    long = PastTurn(question=f"What is {'x ' * MAX_CHARACTERS}?", answer="")
    assert stand_alone("Why?", long) == "Why?"
