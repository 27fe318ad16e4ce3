"""Routes whose arguments a request has ready: called at once, without solving dependencies.

FastAPI goes through a route's tree of dependencies for every request, with stacks for what they might leave open. What
is asked most often takes nothing but the request, who sent it and the gateway, and paid a third of its way for that.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_args

from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

OfRequest = Callable[[Request], Awaitable[Any]]


class DirectRoute(APIRoute):
    """Calls a handler that takes the request, and what functions of it return, and that returns a response.

    It is declared, described and found as any other. A handler that takes something else is not `direct`: it is called
    as the framework does.
    """

    direct = False

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        signature = inspect.signature(endpoint, eval_str=True)
        self._arguments = {name: _maker(one.annotation) for name, one in signature.parameters.items()}
        self._checks = [_of_request(one.dependency) for one in self.dependencies]
        known = None not in (*self._arguments.values(), *self._checks)
        if known and inspect.iscoroutinefunction(endpoint) and signature.return_annotation is Response:
            # Expected errors are answered by the layer around the router, as those of every other route.
            self.direct, self.app = True, self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        for check in self._checks:
            if check is not None:
                await check(request)
        arguments = {name: await make(request) for name, make in self._arguments.items() if make is not None}
        response: Response = await self.endpoint(**arguments)
        await response(scope, receive, send)


async def _itself(request: Request) -> Request:
    return request


def _maker(annotation: Any) -> OfRequest | None:
    """Return what makes the value of a parameter; None where more than the request is needed."""
    if annotation is Request:
        return _itself
    declared = [one for one in get_args(annotation) if isinstance(one, Depends)]
    return _of_request(declared[0].dependency) if declared else None


def _of_request(dependency: Callable[..., Any] | None) -> OfRequest | None:
    """Return a dependency that takes the request alone and leaves nothing open; None for another one."""
    if dependency is None:
        return None
    call = dependency if inspect.isfunction(dependency) else type(dependency).__call__
    takes = [one.annotation for one in inspect.signature(dependency, eval_str=True).parameters.values()]
    return dependency if takes == [Request] and inspect.iscoroutinefunction(call) else None
