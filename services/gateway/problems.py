"""Errors as RFC 9457 problems; the one place where an error gets its HTTP status.

Retryable        503 + Retry-After        Rejected         422
NotFound         404                      DeadlineExpired  504
Conflict         409                      RequestProblem   the status it names
anything else    500, without internals
"""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.gateway.openai_wire.errors import openai_error, openai_status, speaks_openai
from services.gateway.replies import json_bytes
from shared.errors import Conflict, DeadlineExpired, NotFound, PlatformError, Rejected, Retryable
from shared.telemetry import current_trace_id

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 20
_STATUS_OF_ERROR: Final[tuple[tuple[type[PlatformError], int], ...]] = (
    (Retryable, 503),
    (NotFound, 404),
    (Conflict, 409),
    (Rejected, 422),
    (DeadlineExpired, 504),
)
_STATUS_OF_CODE: Final = {"too_large": 413}


class RequestProblem(PlatformError):
    """A request that is refused with a status of its own; `extra` adds members to the problem."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        extra: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, code=code, field=field)
        self.status = status
        self.errors = errors
        self.extra = extra or {}
        self.retry_after_seconds = retry_after_seconds


class ProblemResponse(Response):
    """A problem document; the routes of OpenAI's wire format send it in OpenAI's form."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(json_bytes(problem), problem["status"], headers=dict(headers))
        self._problem = problem
        self._more_headers = dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the problem in the form that callers of the path expect."""
        if not speaks_openai(scope["path"]):
            await super().__call__(scope, receive, send)
            return
        content, status = json_bytes(openai_error(self._problem)), openai_status(self.status_code)
        response = Response(content, status, headers=self._more_headers, media_type="application/json")
        await response(scope, receive, send)


def invalid_request(message: str, *, field: str) -> RequestProblem:
    """Return the problem of one wrong input."""
    return RequestProblem(422, "invalid_request", message, field=field, errors=[{"field": field, "message": message}])


def invalid_body(error: ValidationError) -> RequestProblem:
    """Return the problem of a body: 400 with the position when it is no JSON, else 422 that names the fields."""
    found = error.errors(include_url=False, include_input=False, include_context=True)
    if found[0]["type"] == "json_invalid":
        return RequestProblem(400, "invalid_json", f"the body is not valid JSON: {found[0]['ctx']['error']}")
    return _invalid_fields(found)


def install_problems(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""
    app.add_exception_handler(PlatformError, _on_platform_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def problem_of(error: PlatformError, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """Return the answer to an expected error."""
    headers = dict(headers or {})
    if isinstance(error, Retryable | RequestProblem) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    status, code = status_of(error), error.error_code
    return problem_response(status, code, error.message, extra=_extra_of(error), headers=headers)


def problem_document(error: PlatformError, trace_id: str) -> dict[str, Any]:
    """Return an expected error as the problem that an event of a stream carries."""
    return _document(status_of(error), error.error_code, error.message, trace_id, _extra_of(error))


def status_of(error: PlatformError) -> int:
    """Return the HTTP status of an expected error."""
    if isinstance(error, RequestProblem):
        return error.status
    if error.error_code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[error.error_code]
    return next((status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind)), 500)


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """Return a problem document."""
    return ProblemResponse(_document(status, code, detail, current_trace_id(), extra or {}), headers or {})


def internal_error() -> ProblemResponse:
    """Return the answer to an unexpected error; what it was stays in the log."""
    return problem_response(500, "internal_error", "the gateway failed; its log has the details under this trace id")


def _document(status: int, code: str, detail: str, trace_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": f"urn:rag:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "trace_id": trace_id,
        **extra,
    }


def _extra_of(error: PlatformError) -> dict[str, Any]:
    field = {"field": error.field} if error.field else {}
    if not isinstance(error, RequestProblem):
        return field
    return {**field, **({"errors": list(error.errors)} if error.errors else {}), **error.extra}


async def _on_platform_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, PlatformError):
        raise error
    return problem_of(error)


async def _on_invalid_request(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # FastAPI puts where a value came from ("query", "path") in front of its name.
    found = [{**problem, "loc": tuple(problem["loc"])[1:] or problem["loc"]} for problem in error.errors()]
    return problem_of(_invalid_fields(found))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    detail = error.detail
    if error.status_code in (404, 405) and detail == phrase:
        detail = f"there is no {request.method} {request.url.path}; /docs lists what there is"
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods_of(request)):
        headers["Allow"] = methods
    return problem_response(error.status_code, code, detail, headers=headers)


def _methods_of(request: Request) -> str:
    """Return every method of the path: the router only knows those of the first route that has it."""
    path = str(getattr(request.scope.get("route"), "path", "")).replace(":path}", "}")
    return ", ".join(sorted(method.upper() for method in request.app.openapi()["paths"].get(path, {})))


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    # Nobody reads this; it keeps a caller who left from looking like a failure of ours.
    return problem_response(400, "body_incomplete", "the connection closed in the middle of the body")


def _invalid_fields(found: Sequence[Any]) -> RequestProblem:
    errors = [
        {
            "field": ".".join(str(part) for part in problem["loc"]),
            "message": str(problem["msg"]).removeprefix("Value error, "),
        }
        for problem in found[:MAX_ERRORS]
    ]
    first = errors[0]
    message = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return RequestProblem(422, "invalid_request", message, field=first["field"], errors=errors)
