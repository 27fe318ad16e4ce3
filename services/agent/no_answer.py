"""Noticing that the model says there is no answer, before any of it is shown."""

from typing import Final

from services.agent.prompts import NO_ANSWER

# Small models wrap the word or go on after it.
_WRAPPING: Final = " \t\r\n\"'`*_.[("


class NoAnswerGate:
    """Holds a text back for as long as it may turn out to be the sign for "no answer"."""

    def __init__(self) -> None:
        self._held = ""
        self._open = False
        self.no_answer = False

    def feed(self, piece: str) -> str:
        """Take a piece and return what may be shown."""
        if self._open:
            return piece
        self._held += piece
        said = self._held.lstrip(_WRAPPING)
        if said.startswith(NO_ANSWER):
            self.no_answer = True
            return ""
        if NO_ANSWER.startswith(said):
            return ""
        self._open = True
        return self._held.lstrip()

    def end(self) -> str:
        """Return what is still held once nothing more comes."""
        return "" if self._open or self.no_answer else self._held.strip()
