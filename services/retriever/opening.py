"""Opens the indexes that the settings name."""

from typing import TYPE_CHECKING

from services.retriever.generations import Catalogue, Generations, IndexedModel, open_generations
from services.retriever.index import IndexLocked, IndexUnreadable, ModelMismatch
from services.retriever.qdrant_edge_catalogue import QdrantEdgeCatalogue
from services.retriever.settings import RetrieverSettings
from shared.errors import Misconfigured, Unavailable
from shared.models import ModelError
from shared.settings import EmbeddingModel
from shared.tls import context_of

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient


async def open_indexes(settings: RetrieverSettings) -> Generations:
    """Open what the settings name.

    Misconfigured when what is stored belongs to another model or release, Unavailable while another process holds it.
    """
    clients: list[AsyncQdrantClient] = []
    try:
        return await _open(settings, clients)
    except BaseException:
        for client in clients:
            await client.close()
        raise


async def _open(settings: RetrieverSettings, clients: "list[AsyncQdrantClient]") -> Generations:
    """Open the indexes; the clients that this takes are put into the list."""
    try:
        upcoming = settings.next_embedding
        return await open_generations(
            _catalogue(settings, clients), _indexed(settings.embedding), _indexed(upcoming) if upcoming else None
        )
    except IndexLocked as error:
        raise Unavailable(str(error)) from None
    except (IndexUnreadable, ModelMismatch, ModelError) as error:
        raise Misconfigured(str(error)) from None


def _indexed(model: EmbeddingModel) -> IndexedModel:
    return IndexedModel(model.fingerprint, model.dimension)


def _catalogue(settings: RetrieverSettings, clients: "list[AsyncQdrantClient]") -> Catalogue:
    if settings.qdrant_url is None:
        return QdrantEdgeCatalogue(settings.data_dir)
    # The client of a server takes longer to load than all the rest, for nothing where the index is here.
    from services.retriever.qdrant_server_catalogue import QdrantServerCatalogue

    def connect() -> "AsyncQdrantClient":
        clients.append(_qdrant_client(settings))
        return clients[-1]

    configured = [model.fingerprint for model in (settings.embedding, settings.next_embedding) if model]
    return QdrantServerCatalogue(
        connect,
        prefix=settings.qdrant_prefix,
        configured=configured,
        replication_factor=settings.qdrant_replication_factor,
    )


def _qdrant_client(settings: RetrieverSettings) -> "AsyncQdrantClient":
    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    trust = context_of(settings, "qdrant_tls", "qdrant_url")
    from qdrant_client import AsyncQdrantClient

    return AsyncQdrantClient(
        url=settings.qdrant_url,
        api_key=key,
        timeout=settings.qdrant_timeout_seconds,
        # The client's own check opens a connection that knows nothing of our authority; the index checks the version.
        check_compatibility=False,
        verify=True if trust is None else trust,
    )


def dimension_of(settings: RetrieverSettings, fingerprint: str) -> int:
    """Return the length of the vectors of a configured model."""
    configured = [model for model in (settings.embedding, settings.next_embedding) if model]
    return next(model.dimension for model in configured if model.fingerprint == fingerprint)
