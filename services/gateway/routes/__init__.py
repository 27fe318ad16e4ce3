"""Every route of the gateway, by what it is about."""

from services.gateway.routes import (
    admin,
    answer_events,
    audit,
    caller,
    chunks,
    console,
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
        # Before the documents, whose ids may hold slashes.
        chunks,
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
        caller,
        contracts,
        console,
    )
)
