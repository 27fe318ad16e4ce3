"""The indexes of all models on a Qdrant server: one collection each, and an alias that says which one is searched.

<prefix>-<model>-…    the collection of a model, whose metadata names its fingerprint
<prefix>-active       alias of the collection that is searched
<prefix>-upcoming     alias of the collection that is being filled
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from qdrant_client import AsyncQdrantClient, models

from services.retriever.generations import IndexedModel
from services.retriever.index import VectorIndex
from services.retriever.qdrant_server_failures import reaching
from services.retriever.qdrant_server_index import QdrantServerIndex
from services.retriever.stored_names import stored_name
from shared.logs import get_logger

log = get_logger(__name__)

_ACTIVE: Final = "active"
_UPCOMING: Final = "upcoming"
_FINGERPRINT: Final = "fingerprint"


class QdrantServerCatalogue:
    """Implements Catalogue for any number of replicas: an alias changes in one step.

    `configured` are the models that this process may open; each index gets a client of its own from `connect`.
    """

    def __init__(
        self,
        connect: Callable[[], AsyncQdrantClient],
        *,
        prefix: str,
        configured: Iterable[str],
        replication_factor: int = 1,
    ) -> None:
        self._connect = connect
        self._client = connect()
        self._prefix = prefix
        self._configured = {stored_name(prefix, model): model for model in configured}
        self._replication_factor = replication_factor

    async def active(self) -> str | None:
        """Return the model whose index is searched."""
        with reaching("tell which collection is active"):
            aliases = await self._aliases()
            name = aliases.get(self._alias(_ACTIVE)) or await self._of_an_earlier_release(set(aliases.values()))
            return await self._model_of(name) if name else None

    async def upcoming(self) -> str | None:
        """Return the model whose index is being filled."""
        with reaching("tell which collection is being filled"):
            name = (await self._aliases()).get(self._alias(_UPCOMING))
            return await self._model_of(name) if name else None

    async def open(self, model: IndexedModel) -> VectorIndex:
        """Open the index of a model."""
        return await QdrantServerIndex.open(
            self._connect(),
            prefix=self._prefix,
            dimension=model.dimension,
            fingerprint=model.fingerprint,
            replication_factor=self._replication_factor,
        )

    async def set_active(self, model: str) -> None:
        """Have searches use the index of this model."""
        with reaching("switch the active collection"):
            await self._set_aliases({_ACTIVE: model, _UPCOMING: None})

    async def set_upcoming(self, model: str | None) -> None:
        """Record whose index is being filled."""
        with reaching("name the collection that is being filled"):
            await self._set_aliases({_UPCOMING: model})

    async def discard(self, model: str) -> None:
        """Remove the collection of a model."""
        name = stored_name(self._prefix, model)
        with reaching("delete a collection"):
            if await self._client.collection_exists(name):
                log.info("index_removed", collection=name)
                await self._client.delete_collection(name)

    async def tidy(self, keep: str) -> None:
        """Name the collections of other models, which nobody needs any more; others may want to keep them."""
        with reaching("list its collections"):
            others = await self._collections() - {stored_name(self._prefix, keep)}
            others -= set((await self._aliases()).values())
        if others:
            log.info("outdated_collections_kept", collections=sorted(others), hint="delete them on the server")

    async def close(self) -> None:
        """Close the catalogue's own client."""
        await self._client.close()

    def _alias(self, role: str) -> str:
        return f"{self._prefix}-{role}"

    async def _aliases(self) -> dict[str, str]:
        return {each.alias_name: each.collection_name for each in (await self._client.get_aliases()).aliases}

    async def _collections(self) -> set[str]:
        ours = re.compile(re.escape(self._prefix) + r"-[a-z0-9-]+-[0-9a-f]{8}")
        return {each.name for each in (await self._client.get_collections()).collections if ours.fullmatch(each.name)}

    async def _model_of(self, name: str) -> str:
        """Return the collection's fingerprint, or its name where an earlier release has not stored one."""
        if name in self._configured:
            return self._configured[name]
        metadata = (await self._client.get_collection(name)).config.metadata or {}
        return str(metadata.get(_FINGERPRINT, name))

    async def _of_an_earlier_release(self, aliased: set[str]) -> str | None:
        """Return the collection that was searched before there were aliases: the configured one, else any."""
        found = sorted(await self._collections() - aliased, key=lambda name: (name not in self._configured, name))
        if found and found[0] in self._configured:
            await self._set_aliases({_ACTIVE: self._configured[found[0]]})
        return found[0] if found else None

    async def _set_aliases(self, wanted: dict[str, str | None]) -> None:
        present = await self._aliases()
        operations: list[models.AliasOperations] = []
        for role, model in wanted.items():
            alias = self._alias(role)
            if alias in present:
                operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
            if model is not None:
                operations.append(await self._named(alias, model))
        if operations:
            await self._client.update_collection_aliases(operations)

    async def _named(self, alias: str, model: str) -> models.CreateAliasOperation:
        name = stored_name(self._prefix, model)
        await self._client.update_collection(name, metadata={_FINGERPRINT: model})
        return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
