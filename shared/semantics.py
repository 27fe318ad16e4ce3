"""Every name of spans and of their attributes, after OpenTelemetry's conventions for messaging, HTTP, databases and
generative AI; `observability/telemetry.yaml` says what each is.

Those conventions still move: what changes in them changes here and nowhere else.
"""

from typing import Final

# Whose work a span is; one without it belongs to nobody and is not kept.
TENANT: Final = "rag.tenant"
# When the message was stored in its stream, or the request reached the process (RFC 3339); the span starts later.
QUEUED_AT: Final = "rag.message.queued_at"
DELIVERIES: Final = "rag.message.deliveries"
MESSAGE_OUTCOME: Final = "rag.message.outcome"
RESUMED_TURNS: Final = "rag.agent.resumed_turns"
AGENT_STEPS: Final = "rag.agent.steps"
PROMPT_VERSION: Final = "rag.prompt.version"

ERROR_TYPE: Final = "error.type"

MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.template"
CONSUMER_GROUP: Final = "messaging.consumer.group.name"
MESSAGE_ID: Final = "messaging.message.id"
MESSAGE_COUNT: Final = "messaging.batch.message_count"

HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

DB_SYSTEM: Final = "db.system.name"
DB_OPERATION: Final = "db.operation.name"
DB_COLLECTION: Final = "db.collection.name"
DB_RETURNED: Final = "db.response.returned_rows"

GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_AGENT: Final = "gen_ai.agent.name"
GEN_AI_TOOL: Final = "gen_ai.tool.name"
GEN_AI_MODEL: Final = "gen_ai.request.model"
GEN_AI_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_FINISH: Final = "gen_ai.response.finish_reasons"

SPAN_ATTRIBUTES: Final = frozenset(text for name, text in list(globals().items()) if name.isupper() and "." in text)

REPLAY: Final = "replay dead letter"
COMMIT: Final = "COMMIT"


def served(method: str, route: str) -> str:
    """Return what the span of an HTTP request to us is called."""
    return f"{method} {route}"


def sent(destination: str) -> str:
    """Return what the span of publishing to a subject (template) is called."""
    return f"send {destination}"


def processed(destination: str) -> str:
    """Return what the span of handling a message is called."""
    return f"process {destination}"


def requested(destination: str) -> str:
    """Return what the span of asking another service is called."""
    return f"request {destination}"


def responded(destination: str) -> str:
    """Return what the span of answering another service is called."""
    return f"respond {destination}"


def agent(name: str) -> str:
    """Return what the span of answering with tools is called."""
    return f"invoke_agent {name}"


def tool(name: str) -> str:
    """Return what the span of one call of a tool is called."""
    return f"execute_tool {name}"


def chat(model: str) -> str:
    """Return what the span of an answer of the language model is called."""
    return f"chat {model}"


def statement(operation: str, table: str) -> str:
    """Return what the span of an SQL statement is called."""
    return f"{operation} {table}"


def index_call(operation: str) -> str:
    """Return what the span of a call of the vector index is called."""
    return f"{operation} index"


def _hole(attribute: str) -> str:
    return f"{{{attribute}}}"


# Names as the registry writes them, with attributes for what differs, and their kinds.
SPAN_NAMES: Final = frozenset(
    {
        (served(_hole(HTTP_METHOD), _hole(HTTP_ROUTE)), "server"),
        (sent(_hole(DESTINATION)), "producer"),
        (processed(_hole(DESTINATION)), "consumer"),
        (requested(_hole(DESTINATION)), "client"),
        (responded(_hole(DESTINATION)), "server"),
        (REPLAY, "internal"),
        (agent(_hole(GEN_AI_AGENT)), "internal"),
        (tool(_hole(GEN_AI_TOOL)), "internal"),
        (chat(_hole(GEN_AI_MODEL)), "client"),
        (_hole(HTTP_METHOD), "client"),
        (statement(_hole(DB_OPERATION), _hole(DB_COLLECTION)), "client"),
        (_hole(DB_OPERATION), "client"),
        (index_call(_hole(DB_OPERATION)), "client"),
    }
)
