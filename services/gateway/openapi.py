"""The parts of the OpenAPI document that FastAPI cannot see: bodies that are read by hand, and problems."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from contracts.messages import Message
from contracts.reconciliation import ReconcileRequest
from contracts.retrieval import ReindexRequest
from services.gateway.authentication import is_open
from services.gateway.key_schemas import KeyBody
from services.gateway.openai_wire.schemas import ChatBody, EmbeddingsBody, OpenAIError
from services.gateway.problems import MEDIA_TYPE
from services.gateway.schemas import DocumentsBody, Problem, QueryBody, ReplayBody, SearchBody
from services.gateway.talk_schemas import FeedbackBody

# What a schema of an event stream describes is one event of it.
EVENT_STREAM: Final[dict[str, Any]] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
            "required": ["data"],
        }
    }
}
_REFERENCE: Final = "#/components/schemas/{model}"
_BODIES: Final[tuple[type[Message], ...]] = (
    DocumentsBody,
    SearchBody,
    QueryBody,
    ReindexRequest,
    ReconcileRequest,
    ReplayBody,
    ChatBody,
    EmbeddingsBody,
    OpenAIError,
    FeedbackBody,
    KeyBody,
    Problem,
)
_SCHEME: Final = "bearer"
_UPLOAD: Final = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string", "format": "binary"}},
        "collection": {"type": "string", "default": "default"},
        "metadata": {"type": "string", "description": "A JSON object that holds for every file."},
        "documents": {
            "type": "string",
            "description": "A JSON array with an object for each file, in their order: any of `id`, `title`, `uri` and "
            "`metadata`, which is added to that of all.",
        },
    },
}

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model=Problem.__name__)}}},
    }
    for status, description in (
        ("4XX", "The request cannot be carried out as it stands."),
        ("5XX", "It may work later; a 503 says when in Retry-After."),
    )
}

OPENAI_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": problem["description"],
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model=OpenAIError.__name__)}}},
    }
    for status, problem in PROBLEMS.items()
}


def body_of(model: type[Message], *, upload: bool = False) -> dict[str, Any]:
    """Return the declaration of a JSON body, for a route that reads it by hand."""
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
    if upload:
        content["multipart/form-data"] = {"schema": _UPLOAD}
    return {"requestBody": {"required": True, "content": content}}


def complete_openapi(app: FastAPI) -> None:
    """Have the app describe the bodies as well."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REFERENCE)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update({name: schema for name, schema in bodies["$defs"].items() if name not in schemas})
            _describe_access(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for extending it


def _describe_access(document: dict[str, Any]) -> None:
    """Say which operations need a key; with `RAG_AUTH=off` none does."""
    document["components"]["securitySchemes"] = {
        _SCHEME: {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer."}
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if is_open(path) else [{_SCHEME: []}]
