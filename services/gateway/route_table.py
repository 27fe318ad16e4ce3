"""Finding the route of a request at once, where its path is one that can be looked up.

The framework's routers try one route after the other, each with a regular expression, and those of an included router
twice: a third of what a small request costs.
"""

from collections.abc import Iterable, Sequence
from typing import TypeGuard

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send


class RouteTable(BaseRoute):
    """Stands before `routes` and serves what one of them serves whose path is a literal one.

    It takes the route that a search through all of them finds. What has parameters is left to that search.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._found: dict[tuple[str, str], tuple[Route, Scope]] = {}
        for method, path in _literal(routes):
            found = _search(routes, {"type": "http", "path": path, "method": method})
            if found is not None:
                self._found[method, path] = found

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a full match for what can be looked up, else none."""
        if scope["type"] != "http" or scope.get("root_path"):
            return Match.NONE, {}
        found = self._found.get((scope["method"], scope["path"]))
        if found is None:
            return Match.NONE, {}
        route, child_scope = found
        return Match.FULL, {**child_scope, "path_params": {}, "route": route}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request with the route that was found."""
        await scope["route"].handle(scope, receive, send)


def _literal(routes: Iterable[BaseRoute]) -> Iterable[tuple[str, str]]:
    for route in routes:
        if _is_literal(route):
            for method in route.methods or ():
                yield method, route.path


def _search(routes: Iterable[BaseRoute], scope: Scope) -> tuple[Route, Scope] | None:
    for route in routes:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            return (route, child_scope) if _is_literal(route) else None
    return None


def _is_literal(route: BaseRoute) -> TypeGuard[Route]:
    return isinstance(route, Route) and not route.param_convertors
