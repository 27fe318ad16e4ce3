"""Finding the sentences that an answer of a language model stands on."""

from collections.abc import Sequence

from contracts.retrieval import MAX_TEXTS_PER_REQUEST, RetrievedChunk
from services.agent.calibration import calibration_of
from services.agent.citing import CitedText
from services.agent.patience import Ask
from services.agent.retrieving import vectors
from services.agent.support import supports
from shared.errors import PlatformError
from shared.logs import get_logger

log = get_logger(__name__)


async def settle(cited: CitedText, ask: Ask, embedding_model: str | None, deadline: float | None) -> None:
    """Find the sentences behind claims in other words; without an embedder their words must do.

    `embedding_model` is the fingerprint of the model to compare by, None = the one that is configured.
    """
    unclear = cited.unclear()
    texts = [text for claim, candidates in unclear for text in (claim, *candidates)]
    if not texts or len(texts) > MAX_TEXTS_PER_REQUEST:
        return
    try:
        found, model = await vectors(ask, texts, embedding_model, deadline)
    except PlatformError as error:
        log.warning("claims_not_compared", error=error.error_code)
        return
    similarities, place = [], 0
    for _, candidates in unclear:
        end = place + 1 + len(candidates)
        similarities.append((found[place + 1 : end] @ found[place]).tolist())
        place = end
    cited.settle(similarities, calibration_of(model).least_claim_evidence)


def cite_best(cited: CitedText, passages: Sequence[RetrievedChunk]) -> str:
    """Have an answer without any marker cite the sentence that its words come from, if one clearly does."""
    best = max(
        ((passage, support) for passage in passages for support in supports(cited.text, passage)[:1]),
        key=lambda pair: pair[1].coverage,
    )
    return cited.cite_whole(*best) if best[1].clear else ""
