"""What may be told of an error.

A traceback is where programs leak: the words of an unexpected error hold what it stumbled over, which is somebody's
document, question or password. So frames and classes are told always, words only where they are ours, or are about the
program and never about data. Local variables are never told. `content` (RAG_LOG_CONTENT) lifts the rule for words.
"""

import traceback
from collections.abc import Iterator
from typing import Final

from contracts.codec import DecodeError
from shared.errors import PlatformError

# Their words name types, attributes, files and addresses of the program. `KeyError` and `ValueError` name data.
_ABOUT_THE_PROGRAM: Final = (
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    NotImplementedError,
    OSError,
    RecursionError,
    SyntaxError,
    TimeoutError,
    TypeError,
)
_TOLD: Final = (PlatformError, DecodeError, *_ABOUT_THE_PROGRAM)
# Their errors speak of connections and subjects. By name: a domain module that logs imports no driver.
_DRIVERS: Final = ("nats",)
_UNTOLD: Final = "(its words are not logged: they may hold somebody's data; RAG_LOG_CONTENT=true shows them)"
_MAX_WORDS: Final = 2_000
_MAX_CHAIN: Final = 8
_MAX_MEMBERS: Final = 8


def in_words(error: BaseException, *, content: bool = False) -> str:
    """Return an error as one may log it or show it: its class, and its words where they hold nobody's data.

    Words of ours stand alone: they are written for people.
    """
    words = words_of(error, content=content)
    if isinstance(error, PlatformError | DecodeError):
        return words
    return f"{_name(error)}: {words}" if words else _name(error)


def words_of(error: BaseException, *, content: bool = False) -> str:
    """Return the words of an error, empty where they may hold somebody's data."""
    if isinstance(error, PlatformError) and error.quotes and not content:
        return error.error_code
    if content or isinstance(error, _TOLD) or type(error).__module__.partition(".")[0] in _DRIVERS:
        return str(error)[:_MAX_WORDS]
    return ""


def traceback_of(error: BaseException, *, content: bool = False) -> str:
    """Return the traceback of an error and of what led to it: frames and source lines, never a local variable."""
    return "\n".join(_chain(error, content, set()))


def _chain(error: BaseException, content: bool, told: set[int]) -> Iterator[str]:
    told.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in told and len(told) < _MAX_CHAIN:
        yield from _chain(before, content, told)
        yield "\nThis led to:\n" if error.__cause__ is not None else "\nWhile it was handled:\n"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield f"{_name(error)}: {words_of(error, content=content) or (str(error) and _UNTOLD)}".removesuffix(": ")
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions[:_MAX_MEMBERS]:
            yield from (f"  | {line}" for line in "\n".join(_chain(member, content, told)).splitlines())


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
