"""Splitting text into sentences: where they end, what they stand under, and that they are verbatim."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.agent.sentences import MAX_SENTENCE_CHARACTERS, split_sentences


def texts_of(source: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(source)]


@pytest.mark.parametrize(
    "source",
    [
        "Dr. J. R. Smith of the U.S. Army was born c. 1950.",
        "It costs approx. 3.50 dollars, see Fig. 3 or No. 5.",
        "The Sky Inc. offices are in St. Albans.",
        "She wrote etc. and left.",
        'He asked "Why now?" and left.',
        "A sentence that an editor wrapped at the margin of\nthe page stays one sentence.",
    ],
)
def test_what_only_looks_like_an_end_does_not_end_a_sentence(source: str) -> None:
    assert texts_of(source) == [source]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "It opened. It closed! It reopened… Then no more.",
            ["It opened.", "It closed!", "It reopened…", "Then no more."],
        ),
        ('He said "stop." She left.', ['He said "stop."', "She left."]),
        ("He moved to the U.S. He stayed.", ["He moved to the U.S.", "He stayed."]),
        ("港は開いた。灯台は高い。", ["港は開いた。", "灯台は高い。"]),
        (
            "- one item\n- two items\n1. first step\n2) second step",
            ["one item", "two items", "first step", "second step"],
        ),
        ("Phone: 555 1234\nName: Holm", ["Phone: 555 1234", "Name: Holm"]),
        ("| year | ships |\n| 1887 | 12 |", ["| 1887 | 12 |"]),
        ("| a | b |\n|---|:-:|\n| c | d |", ["| c | d |"]),
        ("Holm | Lindby. East. | 3\nBerg | Uddby | 4", ["Holm | Lindby. East. | 3", "Berg | Uddby | 4"]),
        ("Holm | 3\nBerg | none\nLund | 4", ["Holm | 3", "Berg | none", "Lund | 4"]),
        ("Name: Bob | City: Rome\nName: Ann | Age: 30", ["Name: Bob | City: Rome", "Name: Ann | Age: 30"]),
        ("keeper | town\nHolm | Lindby", ["keeper | town", "Holm | Lindby"]),
        ("first block\r\n\r\nsecond block", ["first block", "second block"]),
        ("", []),
        (" \n\n \t", []),
    ],
)
def test_ends_are_found(source: str, expected: list[str]) -> None:
    assert texts_of(source) == expected


@pytest.mark.parametrize(
    ("source", "lead"),
    [
        ("## Opening hours\n\nDaily from nine.", "Opening hours"),
        ("When do you open?\nDaily from nine.", "When do you open?"),
        ("Daily from nine.", ""),
    ],
)
def test_headings_and_questions_lead_the_sentence_that_follows(source: str, lead: str) -> None:
    sentences = split_sentences(source)
    assert [(sentence.text, sentence.lead) for sentence in sentences] == [("Daily from nine.", lead)]
    assert sentences[0].scored_text == f"{lead} Daily from nine.".strip()


def test_a_lead_belongs_to_one_sentence_only() -> None:
    assert [sentence.lead for sentence in split_sentences("When?\nAt nine. Or at ten.")] == ["When?", ""]


@pytest.mark.parametrize("word", ["word ", "wordwithoutanyspace"])
def test_endless_sentences_are_cut_between_words_where_there_are_any(word: str) -> None:
    parts = texts_of(word * 200)
    assert len(parts) > 1
    assert max(map(len, parts)) <= MAX_SENTENCE_CHARACTERS
    assert "".join(parts).replace(" ", "") == (word * 200).replace(" ", "")


MESSY = st.text(alphabet="abA1 \n\t\r.!?…-#|*。\"')(", max_size=120) | st.text(max_size=120)


@given(MESSY)
def test_every_sentence_is_a_verbatim_part_of_the_text_in_order(source: str) -> None:
    """INVARIANT: a quote can be found in its chunk. Normalising white space before splitting would break it."""
    end = 0
    for sentence in split_sentences(source):
        assert source[sentence.start : sentence.end] == sentence.text == sentence.text.strip() != ""
        assert sentence.start >= end
        end = sentence.end


@given(st.text(alphabet="AB \n.!\u2026,", max_size=200))
def test_nothing_but_white_space_is_left_out_of_plain_prose(source: str) -> None:
    assert "".join("".join(text.split()) for text in texts_of(source)) == "".join(source.split())


def test_rows_stand_under_the_names_of_their_columns() -> None:
    source = "Keepers\n\nkeeper | since\nHolm | 1887\nBerg | 1902\n\nThe house burned down."
    found = [(sentence.text, sentence.lead) for sentence in split_sentences(source)]
    assert found == [
        ("Keepers", ""),
        ("Holm | 1887", "keeper | since"),
        ("Berg | 1902", "keeper | since"),
        ("The house burned down.", ""),
    ]


def test_the_headings_a_passage_begins_with_do_not_answer() -> None:
    source = "Port\nOpening hours\n\nDaily from nine. Closed in May.\n\nOpening hours"
    found = [(sentence.text, sentence.lead) for sentence in split_sentences(source, ("Town", "Port", "Opening hours"))]
    assert found == [("Daily from nine.", "Opening hours"), ("Closed in May.", ""), ("Opening hours", "")]
