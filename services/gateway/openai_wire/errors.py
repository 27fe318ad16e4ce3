"""A problem in the form that clients of OpenAI's API expect: `{"error": {"message", "type", "param", "code"}}`.

A wrong input has status 400 there instead of 422; the other statuses are the same.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

# Also what is not offered: a client of that API must be able to read that it is not.
PATHS: Final = re.compile(r"/v1/(?:chat|completions|embeddings|models|responses)(?:/|$)")
_TYPE_OF_STATUS: Final = {403: "permission_error", 429: "rate_limit_error"}
_CODE_OF_STATUS: Final = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
_CODE_OF_CODE: Final = {"collection_not_found": "model_not_found"}
# What other parts call an input that has another name on this wire.
_PARAM_OF_FIELD: Final = {"question": "messages", "mode": "model", "collection": "model", "history": "messages"}


def speaks_openai(path: str) -> bool:
    """Tell whether callers of a path expect OpenAI's wire format."""
    return PATHS.match(path) is not None


def openai_status(status: int) -> int:
    """Return the status that OpenAI's API would answer with."""
    return 400 if status == 422 else status


def openai_error(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Return a problem document as OpenAI's API would say it."""
    status, code, field = problem["status"], problem["code"], problem.get("field")
    kind = _TYPE_OF_STATUS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {
        "error": {
            "message": problem["detail"],
            "type": kind,
            "param": _param(field) if field else None,
            "code": _CODE_OF_STATUS.get(status) or _CODE_OF_CODE.get(code, code),
        }
    }


def _param(field: str) -> str:
    """Return the path of an input as JavaScript would write it: `messages[1].content`."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", _PARAM_OF_FIELD.get(field, field))
