"""Which terms a text has and what they weigh."""

import pytest

from services.retriever.bm25 import AVERAGE_TERMS, K1, MAX_QUERY_TERMS, B, chunk_terms, query_terms, terms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The runners were running.", ["runner", "run"]),
        ("CAFÉ Müller naïve", ["cafe", "muller", "naiv"]),
        ("\ufb01ne \uff21\uff22\uff23", ["fine", "abc"]),
        ("the driver's licence, the driver\u2019s licence", ["driver", "licenc", "driver", "licenc"]),
        ("TCP/IP v2.0", ["tcp", "ip", "v2", "0"]),
        ("snake_case", ["snake", "case"]),
        ("東京都は大", ["東京", "京都", "都は", "は大"]),
        ("東 京", ["東", "京"]),
        ("보너스 포인트", ["보너", "너스", "포인", "인트"]),
        ("Привет, мир", ["привет", "мир"]),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
            ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092d\u093e\u0937\u093e"],
        ),
        ("what is the", []),
        ("", []),
    ],
)
def test_terms_are_stemmed_words_or_pairs_of_characters(text: str, found: list[str]) -> None:
    assert list(terms(text)) == found


def test_a_query_and_a_chunk_that_say_the_same_word_meet() -> None:
    assert set(query_terms("Which connections are refused?").indices) <= set(
        chunk_terms("A refused connection is tried again.").indices
    )


def test_a_term_weighs_as_bm25_says() -> None:
    text = "moon moon landing"

    weights = dict(zip(chunk_terms(text).indices, chunk_terms(text).values, strict=True))

    norm = K1 * (1 - B + B * 3 / AVERAGE_TERMS)
    assert weights[query_terms("moon").indices[0]] == pytest.approx(2 * (K1 + 1) / (2 + norm))
    assert weights[query_terms("landing").indices[0]] == pytest.approx((K1 + 1) / (1 + norm))


def test_the_same_word_weighs_less_in_a_longer_chunk() -> None:
    [short] = chunk_terms("moon").values
    long = chunk_terms("moon " + " ".join(f"w{number}" for number in range(500)))

    assert dict(zip(long.indices, long.values, strict=True))[query_terms("moon").indices[0]] < short


def test_a_query_is_bounded() -> None:
    assert len(query_terms(" ".join(f"w{number}" for number in range(10_000))).indices) == MAX_QUERY_TERMS


def test_a_repeated_word_of_a_query_counts_once() -> None:
    assert query_terms("moon moon Moons") == query_terms("moon")
