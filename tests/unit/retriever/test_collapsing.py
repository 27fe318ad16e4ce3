"""Which hits repeat another one."""

from services.retriever.collapsing import without_near_copies
from tests.unit.retriever.hits import hit

PAGE = " ".join(f"word{number}" for number in range(100))


def test_a_page_that_stands_twice_in_a_document_answers_once() -> None:
    first, copy = hit("a", ordinal=0, text=PAGE), hit("a", ordinal=7, text=PAGE + " (again)")

    assert without_near_copies([first, copy], 10) == [first]


def test_the_same_text_in_two_documents_answers_twice() -> None:
    hits = [hit("a", text=PAGE), hit("b", text=PAGE)]

    assert without_near_copies(hits, 10) == hits


def test_chunks_that_overlap_both_answer() -> None:
    words = PAGE.split()
    hits = [hit("a", ordinal=0, text=" ".join(words[:60])), hit("a", ordinal=1, text=" ".join(words[40:]))]

    assert without_near_copies(hits, 10) == hits


def test_chunks_without_words_are_no_copies() -> None:
    hits = [hit("a", ordinal=0, text=""), hit("a", ordinal=1, text="")]

    assert without_near_copies(hits, 10) == hits


def test_no_more_than_what_is_asked_for_is_compared() -> None:
    hits = [hit("a", ordinal=number, text=f"{PAGE} {number} " + "x " * number) for number in range(5)]
    different = [hit("a", ordinal=number, text=f"page {number} alone") for number in range(5)]

    assert without_near_copies(hits + different, 3) == [hits[0], *different[:2]]
