"""Problems as OpenAI's API would say them."""

import pytest

from services.gateway.openai_wire.errors import openai_error, openai_status, speaks_openai


@pytest.mark.parametrize(
    ("path", "speaks"),
    [
        ("/v1/chat/completions", True),
        ("/v1/chat", True),
        ("/v1/embeddings", True),
        ("/v1/models", True),
        ("/v1/models/rag:a", True),
        ("/v1/responses/x", True),
        ("/v1/modelsx", False),
        ("/v1/query", False),
        ("/x/v1/models", False),
        ("/", False),
    ],
)
def test_only_the_paths_of_the_wire_format_speak_it(path: str, speaks: bool) -> None:
    assert speaks_openai(path) is speaks


@pytest.mark.parametrize(
    ("status", "code", "kind", "said", "answered"),
    [
        (400, "invalid_json", "invalid_request_error", "invalid_json", 400),
        (422, "invalid_request", "invalid_request_error", "invalid_request", 400),
        (401, "unauthorized", "invalid_request_error", "invalid_api_key", 401),
        (403, "forbidden", "permission_error", "forbidden", 403),
        (404, "collection_not_found", "invalid_request_error", "model_not_found", 404),
        (413, "too_large", "invalid_request_error", "too_large", 413),
        (429, "too_many_requests", "rate_limit_error", "rate_limit_exceeded", 429),
        (500, "internal_error", "server_error", "internal_error", 500),
        (503, "overloaded", "server_error", "overloaded", 503),
        (504, "query_timeout", "server_error", "query_timeout", 504),
    ],
)
def test_a_problem_keeps_its_meaning(status: int, code: str, kind: str, said: str, answered: int) -> None:
    error = openai_error({"status": status, "code": code, "detail": "because", "trace_id": "0"})
    assert error == {"error": {"message": "because", "type": kind, "param": None, "code": said}}
    assert openai_status(status) == answered


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ("messages.0.content.12.text", "messages[0].content[12].text"),
        ("input.3", "input[3]"),
        ("question", "messages"),
        ("mode", "model"),
        ("filter.year", "filter.year"),
        ("", None),
    ],
)
def test_a_field_is_named_as_the_caller_knows_it(field: str, param: str | None) -> None:
    error = openai_error({"status": 422, "code": "x", "detail": "y", "field": field})
    assert error["error"]["param"] == param
