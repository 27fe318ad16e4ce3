"""What every service has to show of itself, and which calls between services one trace has to hold.

A new service is a row in each table.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Signals:
    """The spans that a service makes under the traffic of the tests, and metrics that must have counted."""

    service: str
    spans: tuple[str, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """One call: in the trace of a flow, `to` has a span that is the child of one of `source`."""

    flow: Literal["ingest", "search", "agent", "died", "replay"]
    source: str
    source_span: str
    to: str
    to_span: str

    def __str__(self) -> str:
        return f"{self.flow}: {self.source} {self.source_span} > {self.to} {self.to_span}"


EVERYWHERE = ("rag_loop_lag_seconds_count", "rag_service_ready", "rag_service_live", "rag_spans_sent_total")

SIGNALS = (
    Signals(
        "gateway",
        ("POST /v1/documents", "POST /v1/search", "POST /v1/query", "send rag.v1.ingest.{tenant}"),
        ("http_server_request_duration_seconds_count", "rag_consumer_pending"),
    ),
    Signals(
        "parser",
        ("process rag.v1.ingest.{tenant}", "send rag.v1.chunks.ready"),
        (
            "rag_messages_processed_total",
            "messaging_process_duration_seconds_count",
            "rag_parser_turn_wait_seconds_count",
        ),
    ),
    Signals(
        "embedder",
        ("process rag.v1.chunks.ready", "send rag.v1.chunks.embedded", "respond rag.v1.embed.query"),
        ("rag_messages_processed_total", "rag_requests_duration_seconds_count", "rag_batch_size_count"),
    ),
    Signals(
        "retriever",
        ("process rag.v1.chunks.embedded", "respond rag.v1.retrieve", "upsert index", "search index", "GET", "SET"),
        (
            "rag_messages_processed_total",
            "rag_searches_duration_seconds_count",
            "rag_index_points",
            "rag_cache_requests_total",
        ),
    ),
    Signals(
        "agent",
        ("process rag.v1.queries.ask", "invoke_agent rag", "chat scripted", "execute_tool search_documents", "POST"),
        ("rag_queries_duration_seconds_count", "rag_llm_tokens_total", "rag_agent_tool_calls_total"),
    ),
    Signals(
        "persistence",
        ("process rag.v1.facts.document.parsed", "respond rag.v1.read.document", "UPDATE documents", "COMMIT"),
        ("rag_messages_processed_total", "db_client_operation_duration_seconds_count", "rag_spans_stored_total"),
    ),
)

EDGES = (
    Edge("ingest", "gateway", "POST /v1/documents", "gateway", "send rag.v1.ingest.{tenant}"),
    Edge("ingest", "gateway", "send rag.v1.ingest.{tenant}", "parser", "process rag.v1.ingest.{tenant}"),
    Edge("ingest", "gateway", "send rag.v1.ingest.{tenant}", "persistence", "process rag.v1.ingest.{tenant}"),
    Edge("ingest", "parser", "send rag.v1.chunks.ready", "embedder", "process rag.v1.chunks.ready"),
    Edge("ingest", "embedder", "send rag.v1.chunks.embedded", "retriever", "process rag.v1.chunks.embedded"),
    Edge("ingest", "retriever", "process rag.v1.chunks.embedded", "retriever", "upsert index"),
    Edge(
        "ingest",
        "retriever",
        "send rag.v1.facts.chunks.indexed",
        "persistence",
        "process rag.v1.facts.chunks.indexed",
    ),
    Edge(
        "ingest", "parser", "send rag.v1.facts.document.parsed", "persistence", "process rag.v1.facts.document.parsed"
    ),
    Edge("ingest", "persistence", "process rag.v1.facts.document.parsed", "persistence", "SELECT documents"),
    Edge("ingest", "gateway", "request rag.v1.read.document", "persistence", "respond rag.v1.read.document"),
    Edge("ingest", "persistence", "respond rag.v1.read.document", "persistence", "SELECT documents"),
    Edge("search", "gateway", "POST /v1/search", "gateway", "request rag.v1.retrieve"),
    Edge("search", "gateway", "request rag.v1.retrieve", "retriever", "respond rag.v1.retrieve"),
    Edge("search", "retriever", "request rag.v1.embed.query", "embedder", "respond rag.v1.embed.query"),
    Edge("search", "retriever", "respond rag.v1.retrieve", "retriever", "search index"),
    Edge("search", "retriever", "respond rag.v1.retrieve", "retriever", "GET"),
    Edge("agent", "gateway", "send rag.v1.queries.ask", "agent", "process rag.v1.queries.ask"),
    Edge("agent", "agent", "process rag.v1.queries.ask", "agent", "invoke_agent rag"),
    Edge("agent", "agent", "invoke_agent rag", "agent", "chat scripted"),
    Edge("agent", "agent", "chat scripted", "agent", "POST"),
    Edge("agent", "agent", "invoke_agent rag", "agent", "execute_tool search_documents"),
    Edge("agent", "agent", "execute_tool search_documents", "agent", "request rag.v1.retrieve"),
    Edge("agent", "agent", "request rag.v1.retrieve", "retriever", "respond rag.v1.retrieve"),
    Edge("agent", "retriever", "request rag.v1.embed.query", "embedder", "respond rag.v1.embed.query"),
    Edge("died", "parser", "process rag.v1.ingest.{tenant}", "parser", "send rag.v1.dead.{consumer}"),
    Edge("died", "parser", "send rag.v1.dead.{consumer}", "persistence", "process rag.v1.dead.{consumer}"),
    Edge("replay", "persistence", "replay dead letter", "persistence", "send rag.v1.ingest.{tenant}"),
    Edge("replay", "persistence", "send rag.v1.ingest.{tenant}", "parser", "process rag.v1.ingest.{tenant}"),
)
