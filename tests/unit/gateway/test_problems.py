import orjson
import pytest
from pydantic import ValidationError

from services.gateway.problems import RequestProblem, invalid_body, problem_of
from services.gateway.schemas import DocumentsBody
from shared.errors import (
    Conflict,
    DeadlineExpired,
    InvalidMessage,
    NotFound,
    Overloaded,
    PlatformError,
    Rejected,
    Retryable,
    Unavailable,
)


def refused(body: bytes) -> RequestProblem:
    with pytest.raises(ValidationError) as caught:
        DocumentsBody.model_validate_json(body)
    return invalid_body(caught.value)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Retryable("x"), 503),
        (Unavailable("x"), 503),
        (Overloaded("x"), 503),
        (Rejected("x"), 422),
        (InvalidMessage("x"), 422),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (DeadlineExpired("x"), 504),
        (Rejected("x", code="too_large"), 413),
        (RequestProblem(415, "unsupported_media_type", "x"), 415),
        (PlatformError("x"), 500),
    ],
)
def test_every_error_of_the_platform_has_its_status(error: PlatformError, status: int) -> None:
    response = problem_of(error)
    assert response.status_code == status
    assert orjson.loads(response.body)["status"] == status


def test_a_problem_says_what_is_wrong_with_which_input() -> None:
    body = orjson.loads(problem_of(NotFound("there is no collection 'x'", code="gone", field="collection")).body)
    assert body == {
        "type": "urn:rag:problem:gone",
        "title": "Gone",
        "status": 404,
        "detail": "there is no collection 'x'",
        "code": "gone",
        "trace_id": "0" * 32,
        "field": "collection",
    }


@pytest.mark.parametrize(("seconds", "header"), [(0.05, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")])
def test_retry_after_is_whole_seconds_and_at_least_one(seconds: float, header: str) -> None:
    assert problem_of(Unavailable("x", retry_after_seconds=seconds)).headers["Retry-After"] == header


def test_a_final_refusal_has_no_retry_after() -> None:
    assert "Retry-After" not in problem_of(Rejected("x")).headers


@pytest.mark.parametrize("body", [b"", b"{", b'{"documents": [}', b"\xff", b'{"documents": [{"text": "\\ud800"}]}'])
def test_what_is_no_json_is_refused_with_its_position(body: bytes) -> None:
    problem = refused(body)
    assert (problem.status, problem.error_code) == (400, "invalid_json")
    assert "line 1 column" in problem.message


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", ""),
        (b"{}", "documents"),
        (b'{"documents": []}', "documents"),
        (b'{"documents": [{"id": "a"}]}', "documents.0"),
        (b'{"documents": [{"text": "x", "content": "eA==", "media_type": "text/plain"}]}', "documents.0"),
        (b'{"documents": [{"text": "x"}, {"id": "", "text": "x"}]}', "documents.1.id"),
        (b'{"documents": [{"text": "x", "metadata": {"year": {"a": 1}}}]}', "documents.0.metadata.year"),
        (b'{"documents": [{"text": "x", "metadata": {"year": null}}]}', "documents.0.metadata.year"),
        (b'{"documents": [{"text": "x", "metadata": [1]}]}', "documents.0.metadata"),
        (b'{"documents": [{"text": 7}]}', "documents.0.text"),
        (b'{"documents": [{"content": "x", "media_type": "text/plain"}]}', "documents.0.content"),
        (b'{"documents": [{"object": "somebody-elses"}]}', "documents.0.object"),
        (b'{"documents": [{"text": "x", "collection": "a b"}]}', "documents.0.collection"),
    ],
)
def test_a_wrong_document_is_refused_with_the_name_of_the_field(body: bytes, field: str) -> None:
    problem = refused(body)
    assert (problem.status, problem.error_code, problem.field) == (422, "invalid_request", field)


def test_an_id_of_more_than_256_characters_is_refused() -> None:
    assert refused(b'{"documents": [{"text": "x", "id": "' + b"i" * 257 + b'"}]}').field == "documents.0.id"


def test_more_than_a_hundred_documents_are_refused() -> None:
    assert refused(orjson.dumps({"documents": [{"text": "x"}] * 101})).field == "documents"


def test_every_wrong_field_is_listed_up_to_a_bound() -> None:
    problem = refused(orjson.dumps({"documents": [{"text": "x", "id": ""}] * 50}))
    assert [error["field"] for error in problem.errors] == [f"documents.{index}.id" for index in range(20)]


def test_unknown_fields_are_ignored() -> None:
    body = DocumentsBody.model_validate_json(b'{"documents": [{"text": "x", "colour": "red"}], "more": 1}')
    assert body.documents[0].text == "x"
