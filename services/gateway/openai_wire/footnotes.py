"""Sources below an answer, for clients that know nothing of the field `citations`."""

import re
from collections.abc import Sequence
from typing import Final

from contracts.queries import Citation

_NOTE: Final = re.compile(r"\[\d+\] ")


def footnotes(citations: Sequence[Citation]) -> str:
    """Return a blank line and `[n] title — uri` for each citation; nothing when there is none."""
    lines = [_line(citation) for citation in citations]
    return "\n\n" + "\n".join(lines) if lines else ""


def without_footnotes(text: str) -> str:
    """Return an answer that a client sends back as part of a conversation without the sources below it."""
    answer, _, notes = text.rstrip().rpartition("\n\n")
    return answer if all(_NOTE.match(line) for line in notes.split("\n")) else text


def _line(citation: Citation) -> str:
    parts = [citation.title or citation.document_id, citation.uri or ""]
    return f"[{citation.n}] " + " — ".join(" ".join(part.split()) for part in parts if part.strip())
