"""What commands print: text for people, JSON for programs, and never a control character out of a document."""

import json
import re
import sys
from typing import Any, Final

from rich.console import Console, RenderableType

# C0 and C1 without tab and newline, and what turns the direction of a line: a document must not move the cursor, rename
# the window of who reads it, or have one name read as another.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def out() -> Console:
    """Return a console on standard output; colours only on a terminal, and not with NO_COLOR."""
    return Console(highlight=False, markup=False, emoji=False)


def err() -> Console:
    """Return the same on standard error, for progress and remarks."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def has_colours(console: Console) -> bool:
    """Tell whether escape sequences for colours may be written to a console."""
    return console.is_terminal and not console.no_color and console.color_system is not None


def show(renderable: RenderableType, *, soft_wrap: bool = False, most_columns: int | None = None) -> None:
    """Print on standard output; elsewhere than on a terminal without the spaces that fill up a line."""
    console = out()
    width = None if most_columns is None else min(console.width, most_columns)
    if console.is_terminal:
        console.print(renderable, soft_wrap=soft_wrap, width=width)
        return
    with console.capture() as captured:
        console.print(renderable, soft_wrap=soft_wrap, width=width)
    for line in captured.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def print_json(value: Any) -> None:
    """Print one JSON document on one line of standard output, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def printable(text: object) -> str:
    """Return text from outside with its control characters made visible as �."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n"))


def one_line(text: object, max_characters: int = 200) -> str:
    """Return text on one line, cut with an ellipsis."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= max_characters else flat[: max_characters - 1] + "…"
