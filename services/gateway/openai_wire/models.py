"""The names of models: ways to answer, over all documents or over those of one collection."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from contracts.documents import COLLECTION_PATTERN
from shared.errors import NotFound

Mode = Literal["rag", "agent"]
MODES: Final[tuple[Mode, ...]] = ("rag", "agent")
DEFAULT_EMBEDDING: Final = "default"
OWNER: Final = "rag"
_COLLECTION: Final = re.compile(COLLECTION_PATTERN)


@dataclass(frozen=True, slots=True)
class ChatModel:
    """How to answer, and from which collection; none = all documents."""

    mode: Mode
    collection: str | None = None


def chat_model(name: str) -> ChatModel:
    """Return the model of a name like `rag` or `agent:handbook`; NotFound when it has another form."""
    wanted, colon, collection = name.partition(":")
    mode = next((mode for mode in MODES if mode == wanted), None)
    if mode is None or (colon and not _COLLECTION.fullmatch(collection)):
        raise no_model(name)
    return ChatModel(mode, collection or None)


def no_model(name: str) -> NotFound:
    """Return the error of a model that does not exist."""
    hint = "GET /v1/models lists what there is"
    return NotFound(f"the model {name!r} does not exist; {hint}", code="model_not_found", field="model")


def listed(collections: Iterable[str], embedding_names: Sequence[str]) -> dict[str, Any]:
    """Return the list of all models."""
    chats = [*MODES, *(f"{mode}:{collection}" for collection in sorted(collections) for mode in MODES)]
    return {"object": "list", "data": [described(name) for name in [*chats, *embedding_names]]}


def described(name: str) -> dict[str, Any]:
    """Return one model; when it was made is not known."""
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}
