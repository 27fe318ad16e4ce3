"""What the retriever knows of an embedding model's scale; the similarities of different models are not alike."""

from typing import Final

# Measured on three collections (docs/decisions/0014-hybrid-search.md): from 0.1 to 0.2 hybrid search is better than
# either half on each of them.
_WORDS_WEIGHTS: Final = {"bge-small-en-v1.5-int8": 0.15}


def words_weight_of(model: str) -> float | None:
    """Return what the best match by words is worth beside the cosine, by the beginning of the model's fingerprint.

    None for a model whose scale is not known: its rankings are fused by rank.
    """
    return next((weight for name, weight in _WORDS_WEIGHTS.items() if model.startswith(name)), None)
