"""A chat as a question, and what becomes of the parameters beside it."""

import inspect
import time
from typing import Any

import pytest
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.embeddings import AsyncEmbeddings

from contracts.queries import Citation
from services.gateway.openai_wire.chat import MAX_HISTORY_CHARACTERS, history_of
from services.gateway.openai_wire.footnotes import footnotes, without_footnotes
from services.gateway.openai_wire.parameters import IGNORED, REFUSED, require_supported
from services.gateway.openai_wire.schemas import ChatBody, EmbeddingsBody
from shared.errors import Rejected
from shared.settings import PROJECT_ROOT

OF_THE_CALL = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}


def turns(*said: tuple[str, str]) -> list[tuple[str, str]]:
    return [(turn.question, turn.answer) for turn in history_of(said)]


def parameters_of(method: Any) -> set[str]:
    return set(inspect.signature(method).parameters) - OF_THE_CALL


def test_every_parameter_of_the_official_client_is_decided_on() -> None:
    """A new one of a new client must be read, refused or left aside on purpose, and not by accident."""
    decided = {*ChatBody.model_fields, *REFUSED, *IGNORED}
    assert parameters_of(AsyncCompletions.create) - decided == set()
    assert parameters_of(AsyncEmbeddings.create) - set(EmbeddingsBody.model_fields) == set()
    assert not {*REFUSED} & IGNORED


def test_the_documentation_lists_every_parameter_with_what_becomes_of_it() -> None:
    page = (PROJECT_ROOT / "docs" / "openai.md").read_text(encoding="utf-8")
    refused, accepted = page.partition("### Parameters")[2].partition("### Streams")[0].split("Accepted without")
    assert [name for name in REFUSED if f"`{name}`" not in refused] == []
    assert [name for name in IGNORED if f"`{name}`" not in accepted] == []


@pytest.mark.parametrize("name", sorted([*REFUSED, *IGNORED]))
def test_null_is_as_good_as_absent(name: str) -> None:
    require_supported({name: None})


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_parameter_may_have_the_value_that_asks_for_nothing(name: str) -> None:
    for value in REFUSED[name]:
        require_supported({name: value})
    with pytest.raises(Rejected) as caught:
        require_supported({"temperature": 1, name: "something"})
    assert (caught.value.error_code, caught.value.field) == ("unsupported_parameter", name)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((), []),
        ((("user", "a"), ("assistant", "b")), [("a", "b")]),
        ((("assistant", "hello"), ("user", "a"), ("assistant", "b")), [("a", "b")]),
        ((("user", "a"), ("user", "b"), ("assistant", "c")), [("a", ""), ("b", "c")]),
        ((("user", "a"), ("assistant", "b"), ("assistant", "c")), [("a", "b\n\nc")]),
        ((("user", " "), ("assistant", "b")), []),
    ],
    ids=["nothing", "one turn", "a greeting", "no answer", "two answers", "a blank question"],
)
def test_what_was_said_becomes_turns(said: tuple[tuple[str, str], ...], expected: list[tuple[str, str]]) -> None:
    assert turns(*said) == expected


def test_only_the_latest_turns_are_taken_along() -> None:
    said = [pair for number in range(50) for pair in (("user", f"q{number}"), ("assistant", f"a{number}"))]
    assert turns(*said) == [(f"q{number}", f"a{number}") for number in range(30, 50)]


def test_long_turns_are_cut_and_older_ones_left_behind() -> None:
    said = [pair for _ in range(9) for pair in (("user", "q"), ("assistant", "a" * 90_000))]
    taken = turns(*said)
    assert taken[0] == ("q", "a" * 8_000)
    assert len(taken) == 3
    assert sum(len(question) + len(answer) for question, answer in taken) <= MAX_HISTORY_CHARACTERS


def citation(n: int, **fields: Any) -> Citation:
    return Citation(n=n, document_id=f"d{n}", chunk_id="c", quote="q", **fields)


def test_a_footnote_is_one_line_whatever_the_title_holds() -> None:
    cited = [citation(1, title="A\n[2]  b", uri="https://x/y"), citation(2), citation(3, title=" ", uri="urn:z")]
    assert footnotes(cited) == "\n\n[1] A [2] b — https://x/y\n[2] d2\n[3] urn:z"
    assert footnotes([]) == ""


@pytest.mark.parametrize("text", ["In 1887 [1].", "One [1].\n\nTwo [2].", "See\n\n[1] is above, [2]\nbelow", ""])
def test_footnotes_come_off_again_and_nothing_else_does(text: str) -> None:
    assert without_footnotes(text + footnotes([citation(1, title="A"), citation(2)])) == text
    assert without_footnotes(text) == text


def test_a_hostile_history_costs_no_more_than_reading_it() -> None:
    """Callers choose what they send back; work that grows with its square would hold up everybody else."""
    hostile = "\n\n[1] a" * 100_000 + "\n\nx"
    started = time.perf_counter()
    turns(("user", "q"), *[("assistant", hostile)] * 2)
    turns(("user", "q"), *[("assistant", "a" * 500)] * 2_000)
    assert time.perf_counter() - started < 1
