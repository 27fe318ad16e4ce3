"""Reading a reply of the agreed form, {"tool_calls": […], "answer": "…"}, while it is written.

The text of the answer is passed on as it comes, once it is certain that no calls came before it. A reply that is no
JSON at all is taken for the answer itself.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from services.agent.agent_mode.loop import Call

_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"'}
_FENCE: Final = re.compile(r"^\s*```[a-z]*\s*|\s*```\s*$")
_MAX_BROKEN_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: calls, or the text of the answer."""

    text: str
    calls: tuple[Call, ...] = ()


class ReplyReader:
    """Takes the pieces of one reply."""

    def __init__(self) -> None:
        self._raw = ""
        self._plain: bool | None = None
        self._characters = _AnswerCharacters()
        self.shown = ""

    def feed(self, piece: str) -> str:
        """Take a piece and return what of the answer's text it brings."""
        self._raw += piece
        if self._plain is None and self._raw.strip():
            self._plain = self._raw.lstrip()[0] not in "{`"
            piece = self._raw.lstrip() if self._plain else self._raw
        if self._plain is None:
            return ""
        text = piece if self._plain else "".join(map(self._characters.take, piece))
        self.shown += text
        return text

    def end(self) -> Reply:
        """Return the whole reply; one that is broken counts as a call of nothing, so that the model hears of it."""
        if self._plain or not self._raw.strip():
            return Reply(self.shown.strip())
        try:
            value = json.loads(_FENCE.sub("", self._raw))
        except (ValueError, RecursionError):
            # One that was cut off in the middle of its answer is that answer.
            return Reply(self.shown) if self.shown else _broken(self._raw)
        return _reply(value, self._raw)


def _reply(value: Any, raw: str) -> Reply:
    if not isinstance(value, dict):
        return _broken(raw)
    calls, answer = value.get("tool_calls") or [], value.get("answer")
    if isinstance(calls, list) and calls:
        return Reply("", tuple(_call(one) for one in calls))
    return Reply(answer) if isinstance(answer, str) else _broken(raw)


def _call(value: Any) -> Call:
    if not isinstance(value, dict) or not isinstance(value.get("tool"), str):
        return Call(name="", arguments=json.dumps(value)[:_MAX_BROKEN_CHARACTERS])
    arguments = value.get("arguments", {})
    return Call(name=value["tool"], arguments=json.dumps(arguments, ensure_ascii=False))


def _broken(raw: str) -> Reply:
    return Reply("", (Call(name="", arguments=raw[:_MAX_BROKEN_CHARACTERS]),))


class _AnswerCharacters:
    """Finds the string under the key "answer" of the outermost object, character by character."""

    def __init__(self) -> None:
        self._depth = 0
        self._string: list[str] | None = None
        self._escape = ""
        self._high = ""
        self._key = ""
        self._called = False
        self._value_follows = False
        self._answering = False

    def take(self, character: str) -> str:
        """Return what the character adds to the answer."""
        if self._string is None:
            self._outside(character)
            return ""
        text = self._inside(character)
        if text:
            self._string.append(text)
        return text if self._answering else ""

    def _outside(self, character: str) -> None:
        if character == '"':
            self._string = []
            self._answering = self._depth == 1 and self._value_follows and self._key == "answer" and not self._called
        elif character in "{[":
            self._called = self._called or (character == "{" and self._depth == 2 and self._key == "tool_calls")
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
        elif character == ":" and self._depth == 1:
            self._value_follows = True
        elif character == "," and self._depth == 1:
            self._value_follows = False

    def _inside(self, character: str) -> str:
        if self._escape:
            return self._escaped(character)
        if character == "\\":
            self._escape = character
            return ""
        if character == '"':
            self._close()
            return ""
        return character

    def _escaped(self, character: str) -> str:
        self._escape += character
        kind = self._escape[1]
        if kind != "u":
            self._escape = ""
            return _ESCAPES.get(kind, "")
        if len(self._escape) < 6:
            return ""
        try:
            code = int(self._escape[2:], 16)
        except ValueError:
            code = 0xFFFD
        self._escape = ""
        return self._decoded(code)

    def _decoded(self, code: int) -> str:
        high, self._high = self._high, ""
        if 0xD800 <= code < 0xDC00:
            self._high = chr(code)
            return ""
        if 0xDC00 <= code < 0xE000:
            pair = 0x10000 + ((ord(high) - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD
            return chr(pair)
        return chr(code)

    def _close(self) -> None:
        if self._depth == 1 and not self._value_follows:
            self._key = "".join(self._string or ())
        self._string, self._answering = None, False
