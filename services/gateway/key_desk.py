"""Making, listing and revoking keys; persistence keeps them."""

from datetime import UTC, datetime

from contracts import subjects
from contracts.keys import KeyCreate, KeyListQuery, KeyPage, KeyRevoke, KeyView
from services.gateway.key_schemas import KeyBody, NewKeyShown
from services.gateway.principal import Principal
from services.gateway.problems import RequestProblem
from shared.api_keys import expiry, new_key
from shared.errors import Conflict
from shared.messaging.requests import Requester


class KeyDesk:
    """Asks persistence; raises what it raises, Unavailable when it does not answer.

    Whoever runs the platform may do so for all tenants, another admin for its own.
    """

    def __init__(self, requester: Requester, *, pepper: str | None, operator_tenant: str) -> None:
        self._requester = requester
        self._pepper = pepper
        self._operator_tenant = operator_tenant

    async def create(self, caller: Principal, body: KeyBody) -> NewKeyShown:
        """Return a new key; Conflict when there is nothing to hash it with."""
        tenant = body.tenant or caller.tenant
        if tenant != caller.tenant:
            caller.require_operator(self._operator_tenant)
        if self._pepper is None:
            raise Conflict("this gateway has no RAG_KEY_PEPPER to hash keys with; set it", code="keys_not_configured")
        made = new_key(self._pepper)
        request = KeyCreate(
            id=made.id,
            prefix=made.prefix,
            tenant=tenant,
            scopes=sorted(set(body.scopes)),
            digest=made.digest,
            name=body.name,
            expires_at=expiry(body.expires, datetime.now(UTC)),
            actor=caller.key_id,
            actor_tenant=caller.tenant,
        )
        view = await self._requester.ask(subjects.KEYS_CREATE, request, KeyView)
        return NewKeyShown.model_validate({**view.model_dump(), "key": made.text})

    async def page(self, caller: Principal, limit: int, cursor: str | None) -> KeyPage:
        """Return a page of keys."""
        query = KeyListQuery(tenant=self._only(caller), limit=limit, cursor=cursor)
        return await self._requester.ask(subjects.KEYS_LIST, query, KeyPage)

    async def revoke(self, caller: Principal, key_id: str) -> KeyView:
        """Have a key refused everywhere; NotFound for none, and for one of somebody else."""
        request = KeyRevoke(id=key_id, tenant=self._only(caller), actor=caller.key_id, actor_tenant=caller.tenant)
        view = await self._requester.ask(subjects.KEYS_REVOKE, request, KeyView)
        if view.revoked_at is None:
            raise RequestProblem(500, "internal_error", "the key was not revoked")
        return view

    def _only(self, caller: Principal) -> str | None:
        return None if caller.operates(self._operator_tenant) else caller.tenant
