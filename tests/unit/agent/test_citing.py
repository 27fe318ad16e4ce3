"""Citations hold: each points at a passage that was given, and quotes the sentence that supports the claim."""

from hypothesis import given
from hypothesis import strategies as st

from services.agent.citing import CitedText
from services.agent.support import claim_before, supports
from tests.unit.agent.library import TEXTS, chunk_of

PASSAGES = [chunk_of(name, text) for name, text in TEXTS.items()]


def write(*pieces: str) -> CitedText:
    cited = CitedText(PASSAGES)
    shown = "".join(cited.feed(piece) for piece in pieces) + cited.end()
    assert shown == cited.text
    return cited


def test_a_marker_becomes_the_sentence_that_supports_the_claim_before_it() -> None:
    cited = write("The lighthouse was built by Greta Holm [1]. ", "The bakery is closed on Mondays. [2]")
    assert cited.text == "The lighthouse was built by Greta Holm [1]. The bakery is closed on Mondays. [2]"
    first, second = cited.citations
    assert (first.n, first.document_id) == (1, "harbour")
    assert first.quote == "Its lighthouse was built by Greta Holm, an engineer from Ystad."
    assert (second.n, second.document_id, second.quote) == (2, "bakery", "The bakery of Lindby closes on Mondays.")


def test_a_citation_tells_where_in_its_document_the_passage_stands() -> None:
    place = {"ordinal": 4, "page": 12, "heading_path": ("Harbour", "History")}
    cited = CitedText([PASSAGES[0].model_copy(update=place)])
    cited.feed("The lighthouse was built by Greta Holm [1]. ")
    (found,) = cited.citations
    assert (found.ordinal, found.page, found.heading_path) == (4, 12, ["Harbour", "History"])


def test_numbers_count_in_the_order_of_reading_and_each_has_one_quote() -> None:
    cited = write(
        "Adults pay 7 crowns [3]. Bread leaves the oven at five [2]. The bakery closes on Mondays [2]. "
        "Adults pay seven: 7 crowns [3]."
    )
    assert cited.text == (
        "Adults pay 7 crowns [1]. Bread leaves the oven at five [2]. The bakery closes on Mondays [3]. "
        "Adults pay seven: 7 crowns [1]."
    )
    assert [(one.n, one.quote) for one in cited.citations] == [
        (1, "Adults pay 7 crowns."),
        (2, "Bread leaves the oven at five."),
        (3, "The bakery of Lindby closes on Mondays."),
    ]


def test_a_marker_that_points_at_nothing_is_removed_and_counted() -> None:
    cited = write("The harbour opened in 1887 [7]. It did [0, 1].")
    assert cited.text == "The harbour opened in 1887. It did [1]."
    assert cited.invented == 2
    assert [one.document_id for one in cited.citations] == ["harbour"]


def test_a_claim_in_other_words_waits_for_its_vectors() -> None:
    cited = write("You cannot buy a loaf on the first weekday [2].")
    ((claim, candidates),) = cited.unclear()
    assert claim.startswith("You cannot buy a loaf")
    wanted = next(place for place, text in enumerate(candidates) if "Mondays" in text)
    cited.settle([[1.0 if place == wanted else 0.0 for place in range(len(candidates))]], 0.76)
    assert cited.unclear() == []
    assert cited.citations[0].quote == "The bakery of Lindby closes on Mondays."


def test_without_vectors_the_words_decide() -> None:
    cited = write("Loaves of rye are what people ask for [2].")
    assert cited.citations[0].quote == "Rye is the most popular loaf."


@given(st.lists(st.sampled_from(["The harbour", " opened [1]", ". Rye [2, 9]", " [x]", "[3][1]", "\n", " ["])))
def test_every_quote_is_verbatim_and_every_marker_has_its_citation(pieces: list[str]) -> None:
    """INVARIANT: every claim cites its source: a number in the text has one citation, its quote stands in its chunk."""
    cited = write(*pieces)
    texts = {f"{name}-0": text for name, text in TEXTS.items()}
    for number, citation in enumerate(cited.citations, 1):
        assert citation.n == number
        assert f"[{number}]" in cited.text
        assert citation.quote in texts[citation.chunk_id]


def test_the_claim_is_the_last_sentence_in_front_of_the_marker() -> None:
    assert claim_before("One thing. Another thing is so") == "Another thing is so"
    assert claim_before("One thing. Another thing.") == "Another thing."
    assert claim_before("") == ""


def test_a_passage_without_sentences_is_quoted_whole() -> None:
    passage = chunk_of("odd", "# Only a heading")
    assert supports("heading", passage)[0].sentence.text == "# Only a heading"
