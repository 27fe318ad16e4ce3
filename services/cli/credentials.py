"""The key that the commands call the gateway with: `--key` on any of them, `RAG_API_KEY`, or `RAG_API_KEY_FILE`."""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Annotated, Any, Final

import typer

_GIVEN: Final[ContextVar[str | None]] = ContextVar("given_key", default=None)
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="API key (or RAG_API_KEY).")]


def taking_key(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes `--key` as well and is run with that key."""

    @wraps(command)
    def run(*arguments: Any, key: str | None = None, **options: Any) -> Any:
        given = _GIVEN.set(key)
        try:
            return command(*arguments, **options)
        finally:
            _GIVEN.reset(given)

    known = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Key)
    run.__signature__ = known.replace(parameters=[*known.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, "key": Key}
    return run


def authorization() -> dict[str, str]:
    """Return the header by which the gateway knows who calls; none without a key. CommandError when it can't be one."""
    # Imported here because the settings take a quarter of a second, which `rag --help` shall not.
    from services.cli.errors import UsageProblem
    from services.cli.settings import ClientSettings, load

    key = _GIVEN.get() or load(ClientSettings).api_key
    if not key:
        return {}
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageProblem("the key (--key, RAG_API_KEY) must be one word of plain letters, as it was shown")
    return {"Authorization": f"Bearer {key}"}
