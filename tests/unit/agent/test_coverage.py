"""Coverage: which words of a question count, how much, and where they are found."""

import pytest

from services.agent.coverage import coverage, question_weights, words_of


def weights_of(question: str, *passages: str) -> dict[str, float]:
    return question_weights(question, [words_of(passage) for passage in passages])


def test_words_are_compared_by_their_stem_without_case_or_possessive() -> None:
    weights = weights_of("Which harbours were opening?", "The Harbour's gate opened.")
    assert coverage(weights, words_of("The Harbour's gate opened.")) == pytest.approx(1.0)


def test_function_words_and_talk_about_documents_do_not_count() -> None:
    assert weights_of("Please tell me what the document is about", "anything") == {}


def test_a_question_without_content_is_covered_by_nothing() -> None:
    assert coverage(weights_of("Who is it?", "anything"), words_of("anything")) == 0.0


def test_rare_words_weigh_more_and_missing_ones_most() -> None:
    weights = weights_of("harbour lighthouse submarine", "harbour lighthouse", "harbour bakery", "harbour museum")
    assert weights["harbour"] < weights["lighthous"] < weights["submarin"]


@pytest.mark.parametrize("specific", ["in 1887 harbour", "of Lindby harbour"])
def test_numbers_and_names_weigh_more_than_other_words(specific: str) -> None:
    weights = weights_of(specific, "nothing of the kind")
    harbour = weights.pop("harbour")
    assert list(weights.values()) == [pytest.approx(1.5 * harbour)]


def test_the_capital_at_the_start_of_a_question_makes_no_name() -> None:
    weights = weights_of("Boats harbour", "nothing of the kind")
    assert weights["boat"] == pytest.approx(weights["harbour"])


def test_scripts_without_spaces_are_covered_by_the_character() -> None:
    weights = weights_of("灯台", "灯台は高い", "港")
    assert coverage(weights, words_of("灯台は高い")) == pytest.approx(1.0)
    assert coverage(weights, words_of("港")) == 0.0
