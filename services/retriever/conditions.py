"""Filters and scopes said once, for both dialects of Qdrant's filter conditions."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from services.retriever import payload
from services.retriever.filters import AllOf, AnyOf, Between, Filter, Not, OneOf
from services.retriever.index import DocumentSpan

ConditionT = TypeVar("ConditionT")


class Conditions(Protocol[ConditionT]):
    """The few conditions that everything else is built from."""

    def equals(self, key: str, value: str | int) -> ConditionT:
        """The field is this string or integer, or holds it as an element."""
        ...

    def any_of(self, key: str, values: list[str]) -> ConditionT:
        """The field is one of these strings, or holds one as an element."""
        ...

    def within(self, bounds: Between) -> ConditionT:
        """The field, here a full payload key, is a number within the bounds."""
        ...

    def all(self, conditions: list[ConditionT]) -> ConditionT:
        """Every condition holds."""
        ...

    def any(self, conditions: list[ConditionT]) -> ConditionT:
        """At least one condition holds."""
        ...

    def none(self, conditions: list[ConditionT]) -> ConditionT:
        """No condition holds."""
        ...


def search_scope(
    make: Conditions[ConditionT],
    tenant: str,
    collection: str | None,
    filter_: Filter | None,
    floors: Mapping[str, int],
) -> list[ConditionT]:
    """Return what every hit must satisfy; fences need no condition, they have no vector to be found by."""
    scope = [make.equals(payload.TENANT_FIELD, tenant)]
    if collection is not None:
        scope.append(make.equals("collection", collection))
    if filter_ is not None:
        scope.append(condition_of(make, filter_))
    if floors:
        scope.append(make.none([_below_floor(make, name, floor) for name, floor in floors.items()]))
    return scope


def _below_floor(make: Conditions[ConditionT], collection: str, floor: int) -> ConditionT:
    return make.all([make.equals("collection", collection), make.within(revisions(below=floor))])


def count_scope(make: Conditions[ConditionT], tenant: str | None, collection: str | None) -> list[ConditionT]:
    """Return what every counted chunk point must satisfy."""
    scope = [make.equals("kind", payload.CHUNK)]
    if tenant is not None:
        scope.append(make.equals(payload.TENANT_FIELD, tenant))
    if collection is not None:
        scope.append(make.equals("collection", collection))
    return scope


def fence_scope(make: Conditions[ConditionT]) -> list[ConditionT]:
    """Return what every fence satisfies."""
    return [make.equals("kind", payload.FENCE)]


def document_scope(make: Conditions[ConditionT], tenant: str, document_id: str) -> list[ConditionT]:
    """Return what the chunk points of one document satisfy."""
    return [*count_scope(make, tenant, None), make.equals("document_id", document_id)]


def span_scope(make: Conditions[ConditionT], span: DocumentSpan) -> list[ConditionT]:
    """Return what the chunk points of a part of a document satisfy."""
    place = payload.PAGE_FIELD if span.by_page else payload.ORDINAL_FIELD
    scope = document_scope(make, span.tenant, span.document_id)
    if span.collection is not None:
        scope.append(make.equals("collection", span.collection))
    if span.filter is not None:
        scope.append(condition_of(make, span.filter))
    return [*scope, make.within(Between(place, gte=span.first, lte=span.last))]


def revision_scope(make: Conditions[ConditionT], tenant: str | None, revisions: Between) -> list[ConditionT]:
    """Return what chunk points with a revision within the bounds satisfy, of all tenants when none is given."""
    return [*count_scope(make, tenant, None), make.within(revisions)]


def revisions(*, above: int | None = None, below: int | None = None) -> Between:
    """Return the bounds for revisions strictly above and below the given ones."""
    return Between(payload.REVISION_FIELD, gt=above, lt=below)


def only_revision(revision: int) -> Between:
    """Return the bounds for exactly one revision."""
    return Between(payload.REVISION_FIELD, gte=revision, lte=revision)


def condition_of(make: Conditions[ConditionT], filter_: Filter) -> ConditionT:
    """Return the condition that a filter on the document's metadata says."""
    match filter_:
        case OneOf(field, values):
            terms = [payload.term(field, value) for value in values]
            return make.equals("terms", terms[0]) if len(terms) == 1 else make.any_of("terms", terms)
        case Between(field):
            # Quoted, so that a dot or a bracket in the name is not read as a path.
            return make.within(replace(filter_, field=f'metadata."{field}"'))
        case AllOf(filters):
            return make.all([condition_of(make, each) for each in filters])
        case AnyOf(filters):
            return make.any([condition_of(make, each) for each in filters])
        case Not(inner):
            return make.none([condition_of(make, inner)])
