"""Which failures of a Qdrant server may pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from httpx import ConnectError
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from services.retriever.index import IndexUnavailable


@contextmanager
def reaching(action: str) -> Iterator[None]:
    """Tell a server that cannot answer now, IndexUnavailable, from a request that it refuses."""
    try:
        yield
    except (ResponseHandlingException, ResourceExhaustedResponse) as error:
        away = isinstance(getattr(error, "source", None), ConnectError)
        raise IndexUnavailable(f"the Qdrant server could not {action}: {error}", away=away) from error
    except UnexpectedResponse as error:
        # A collection that is not there is one that another replica begins anew at this moment.
        if error.status_code is not None and error.status_code < 500 and error.status_code != HTTPStatus.NOT_FOUND:
            raise
        raise IndexUnavailable(f"the Qdrant server could not {action}: {error}") from error
