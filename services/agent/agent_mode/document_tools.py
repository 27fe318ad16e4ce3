"""The tools that every agent has: search, read and list the tenant's documents, and calculate.

Whose documents, which collection and which filter comes from the question, never from the model.
"""

from collections.abc import Mapping
from typing import Any, Final

from contracts import subjects
from contracts.reads import DocumentListQuery, DocumentPage
from contracts.retrieval import PassagesReply, PassagesRequest, RetrievedChunk, RetrieveReply, RetrieveRequest
from services.agent.agent_mode.calculator import MAX_CHARACTERS, NotCalculable, calculate
from services.agent.agent_mode.loop import ToolResult
from services.agent.agent_mode.tool import AgentTool, CallContext, ToolFailed, refused
from services.agent.evidence import enough_evidence
from services.agent.llm import Tool
from services.agent.patience import Ask

MAX_PASSAGES: Final = 8
MAX_LISTED: Final = 50
# A shorter name may stand in any text.
MIN_NAME_CHARACTERS: Final = 4
MAX_QUERY_CHARACTERS: Final = 500
_NOTHING: Final = "Nothing was found. Try other words."
_PAGE: Final = {"type": "integer", "minimum": 1}
_PLACE: Final = {"type": "integer", "minimum": 0}
_DOCUMENT_ID: Final = {"type": "string", "minLength": 1, "maxLength": 256}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


class SearchDocuments:
    """Finds passages."""

    told = Tool(
        "search_documents",
        "Find the passages of the documents that fit a query best. Ask for one thing at a time.",
        _object(
            {
                "query": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARACTERS},
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PASSAGES},
            },
            "query",
        ),
    )

    def __init__(self, ask: Ask, *, max_bytes: int) -> None:
        self._ask, self._max_bytes = ask, max_bytes

    async def __call__(self, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
        """Return the passages; raises what the retriever raises."""
        question = context.question
        limit = min(arguments.get("limit", MAX_PASSAGES), question.top_k)
        request = RetrieveRequest(
            tenant=question.tenant,
            query=arguments["query"],
            collection=question.collection,
            filter=question.filter,
            top_k=limit,
        )
        found = await self._ask(subjects.RETRIEVE, request, RetrieveReply, deadline=context.deadline)
        if not found.hits:
            return ToolResult(text=_NOTHING, ours=True, summary="nothing found", evidence="weak")
        passages = _fitting(found.hits, self._max_bytes)
        return ToolResult(
            passages=passages,
            summary=_counted(passages),
            evidence="found" if enough_evidence(request.query, found) else "weak",
            embedding_model=found.model,
        )


class ReadDocument:
    """Reads a part of one document."""

    told = Tool(
        "read_document",
        "Read one document where it stands, by pages (from_page, to_page) or by chunks counted from 0 (from_chunk,"
        " to_chunk); without either from its beginning. Use it when a passage breaks off or more of it is needed.",
        _object(
            {
                "document_id": _DOCUMENT_ID,
                "from_page": _PAGE,
                "to_page": _PAGE,
                "from_chunk": _PLACE,
                "to_chunk": _PLACE,
            },
            "document_id",
        ),
    )

    def __init__(self, ask: Ask, *, max_bytes: int) -> None:
        self._ask, self._max_bytes = ask, max_bytes

    async def __call__(self, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
        """Return the chunks; NotFound for a document that the question may not see."""
        question, places = context.question, _places(arguments)
        request = PassagesRequest(
            tenant=question.tenant,
            document_id=arguments["document_id"],
            collection=question.collection,
            filter=question.filter,
            max_bytes=self._max_bytes,
            **places,
        )
        reply = await self._ask(subjects.READ_PASSAGES, request, PassagesReply, deadline=context.deadline)
        if not reply.passages:
            return refused("The document has no text at this place. Read it from its beginning.", "no text there")
        more = f"It goes on at chunk {reply.next_ordinal}." if reply.next_ordinal is not None else ""
        passages = tuple(reply.passages)
        return ToolResult(text=more, passages=passages, summary=_counted(passages), evidence="read")


class ListDocuments:
    """Lists the tenant's documents."""

    told = Tool(
        "list_documents",
        "List the documents by id: which there are, their titles and their state.",
        _object(
            {"limit": {"type": "integer", "minimum": 1, "maximum": MAX_LISTED}, "cursor": {"type": "string"}},
        ),
    )

    def __init__(self, ask: Ask, *, max_bytes: int) -> None:
        self._ask, self._max_bytes = ask, max_bytes

    async def __call__(self, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
        """Return a page of documents, one line each; raises what persistence raises."""
        question = context.question
        request = DocumentListQuery(
            tenant=question.tenant,
            collection=question.collection,
            limit=arguments.get("limit", MAX_LISTED),
            cursor=arguments.get("cursor") or None,
        )
        page = await self._ask(subjects.READ_DOCUMENTS, request, DocumentPage, deadline=context.deadline)
        shown = [one for one in page.items if one.status != "deleted"]
        lines = [f"{one.id} | {_line(one.title)} | collection {one.collection} | {one.status}" for one in shown]
        more = [f"There are more: cursor {page.next_cursor}"] if page.next_cursor is not None else []
        text = "\n".join([*more, *lines]) or "There are no documents."
        names = {name for one in shown for name in (one.id, one.title) if name and len(name) >= MIN_NAME_CHARACTERS}
        return ToolResult(
            text=text.encode()[: self._max_bytes].decode(errors="ignore"),
            summary=f"{len(shown)} documents",
            statements=(*sorted(names), f"{len(shown)} document", "no document"),
            evidence="fact",
        )


class Calculate:
    """Does arithmetic."""

    told = Tool(
        "calculate",
        "Calculate an arithmetic expression exactly, for example (17 / 100) * 1250. Use it for every calculation.",
        _object({"expression": {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS}}, "expression"),
    )

    async def __call__(self, arguments: Mapping[str, Any], context: CallContext) -> ToolResult:
        """Return the value; ToolFailed says what cannot be calculated."""
        try:
            value = calculate(arguments["expression"])
        except NotCalculable as error:
            raise ToolFailed(f"Not calculated: {error}.") from None
        return ToolResult(text=value, summary=value, statements=(value,), evidence="fact")


def document_tools(ask: Ask, *, max_bytes: int, filtered: bool) -> list[AgentTool]:
    """Return the tools; a list of documents cannot be filtered by metadata, so a filtered question gets none."""
    tools: list[AgentTool] = [
        SearchDocuments(ask, max_bytes=max_bytes),
        ReadDocument(ask, max_bytes=max_bytes),
        Calculate(),
    ]
    return tools if filtered else [*tools, ListDocuments(ask, max_bytes=max_bytes)]


def _places(arguments: Mapping[str, Any]) -> dict[str, int]:
    if "from_page" in arguments or "to_page" in arguments:
        first = arguments.get("from_page", 1)
        return {"first_page": first, "last_page": max(first, arguments.get("to_page", first))}
    first = arguments.get("from_chunk", 0)
    places = {"first_ordinal": first}
    return {**places, "last_ordinal": max(first, arguments["to_chunk"])} if "to_chunk" in arguments else places


def _fitting(hits: list[RetrievedChunk], max_bytes: int) -> tuple[RetrievedChunk, ...]:
    kept: list[RetrievedChunk] = []
    for hit in hits:
        max_bytes -= len(hit.text.encode())
        if kept and max_bytes < 0:
            break
        kept.append(hit)
    return tuple(kept)


def _counted(passages: tuple[RetrievedChunk, ...]) -> str:
    documents = dict.fromkeys(passage.title or passage.document_id for passage in passages)
    names = ", ".join(" ".join(name.split())[:60] for name in list(documents)[:3])
    return f"{len(passages)} passages from {names}{' and others' if len(documents) > 3 else ''}"


def _line(text: str | None) -> str:
    return " ".join((text or "no title").split())[:120]
