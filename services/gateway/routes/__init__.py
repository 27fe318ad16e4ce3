"""Every route of the gateway, by what it is about."""

from services.gateway.routes import (
    admin,
    answer_events,
    audit,
    contracts,
    conversations,
    dead_letters,
    documents,
    feedback,
    keys,
    mcp,
    openai,
    queries,
    search,
    traces,
    usage,
)

ROUTERS = tuple(
    part.router
    for part in (
        documents,
        usage,
        search,
        queries,
        answer_events,
        conversations,
        feedback,
        openai,
        mcp,
        admin,
        dead_letters,
        keys,
        audit,
        traces,
        contracts,
    )
)
