"""Choosing the passages that fit into the model's window."""

from collections.abc import Callable, Sequence
from typing import Final

from contracts.retrieval import RetrievedChunk
from services.agent.prompts import passage_block
from services.agent.sentences import split_sentences

# The chat template adds tokens around each message, and no counter is exact.
RESERVE: Final = 0.05

CountTokens = Callable[[str], int]


def context_budget(window_tokens: int, output_tokens: int, spent_tokens: int) -> int:
    """Return the tokens that are left for passages; 0 when question and answer alone fill the window."""
    return max(0, int(window_tokens * (1 - RESERVE)) - output_tokens - spent_tokens)


def pack(
    passages: Sequence[RetrievedChunk], mark: str, *, budget_tokens: int, count_tokens: CountTokens
) -> list[RetrievedChunk]:
    """Return the best passages that fit, in their order.

    One that does not fit is left out and the next is tried; if even the first does not, it is cut at a sentence.
    """
    packed: list[RetrievedChunk] = []
    left = budget_tokens
    for passage in passages:
        cost = count_tokens(passage_block(len(packed) + 1, passage, mark))
        if cost <= left:
            packed.append(passage)
            left -= cost
    if not packed and passages:
        shortened = _shortened(passages[0], mark, budget_tokens, count_tokens)
        packed = [shortened] if shortened else []
    return packed


def packed_tokens(passages: Sequence[RetrievedChunk], mark: str, count_tokens: CountTokens) -> int:
    """Return how many tokens passages take up in the prompt."""
    return sum(count_tokens(passage_block(number, passage, mark)) for number, passage in enumerate(passages, 1))


def _shortened(
    passage: RetrievedChunk, mark: str, budget_tokens: int, count_tokens: CountTokens
) -> RetrievedChunk | None:
    """Return the beginning of a passage, as many whole sentences as fit."""
    ends = [sentence.end for sentence in split_sentences(passage.text, passage.heading_path)]
    for end in reversed(ends):
        candidate = passage.model_copy(update={"text": passage.text[:end]})
        if count_tokens(passage_block(1, candidate, mark)) <= budget_tokens:
            return candidate
    return None
