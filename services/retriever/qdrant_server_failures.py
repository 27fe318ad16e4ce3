"""Which failures of a Qdrant server may pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from json import JSONDecodeError
from typing import Final

from httpx import ConnectError
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from services.retriever.index import IndexUnavailable
from shared.tls import tls_trouble

TLS_SETTINGS: Final = "RAG_QDRANT_TLS"
# Of the statuses that speak about the request, those that may pass. A collection that is not there (404) is one that
# another replica begins anew at this moment.
_PASSING: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@contextmanager
def reaching(action: str) -> Iterator[None]:
    """Tell a server that cannot answer now, IndexUnavailable, from a request that it refuses."""
    try:
        yield
    except (ResponseHandlingException, ResourceExhaustedResponse) as error:
        away = isinstance(getattr(error, "source", None), ConnectError)
        reason = tls_trouble(error, TLS_SETTINGS) or error
        raise IndexUnavailable(f"the Qdrant server could not {action}: {reason}", away=away) from error
    except UnexpectedResponse as error:
        if error.status_code is not None and error.status_code < 500 and error.status_code not in _PASSING:
            raise
        raise IndexUnavailable(f"the Qdrant server could not {action}: {error}") from error
    except JSONDecodeError as error:
        # Whatever stands between may answer with a page of its own.
        raise IndexUnavailable(f"the Qdrant server could not {action}: it answered something else than JSON") from error
