"""Choosing what of a conversation goes into the model's window: the newest turns, whole or shortened, none skipped."""

from collections.abc import Callable, Sequence

from contracts.conversations import PastTurn
from services.agent.sentences import split_sentences

CountTokens = Callable[[str], int]


def turn_block(turn: PastTurn) -> str:
    """Return a turn as the model reads it."""
    said = " ".join(turn.answer.split()) if turn.answered else "(no answer was found)"
    return f"User: {' '.join(turn.question.split())}\nAssistant: {said}".rstrip()


def trim(turns: Sequence[PastTurn], *, budget_tokens: int, count_tokens: CountTokens) -> list[PastTurn]:
    """Return the newest turns that fit, in their order; the oldest of them may lose the end of its answer."""
    kept: list[PastTurn] = []
    left = budget_tokens
    for turn in reversed(turns):
        cost = count_tokens(turn_block(turn))
        if cost > left:
            shortened = _shortened(turn, left, count_tokens)
            return [*([shortened] if shortened else []), *kept]
        kept.insert(0, turn)
        left -= cost
    return kept


def _shortened(turn: PastTurn, budget_tokens: int, count_tokens: CountTokens) -> PastTurn | None:
    """Return a turn with as many whole sentences of its answer as fit; None when not even its question does."""
    ends = [0, *(sentence.end for sentence in split_sentences(turn.answer))] if turn.answered else []
    for end in reversed(ends):
        candidate = turn.model_copy(update={"answer": turn.answer[:end]})
        if count_tokens(turn_block(candidate)) <= budget_tokens:
            return candidate
    return None
