"""Breaking text into lines while it is still coming."""

from collections.abc import Iterator

from rich.cells import cell_len


class Wrapping:
    """Breaks a text that comes in pieces between its words, at a width in columns; a longer word stands as it is."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._blanks = ""
        self._word = ""

    def feed(self, piece: str) -> str:
        """Return what can be written now; a word that may go on is kept back."""
        return "".join(self._written(piece))

    def rest(self) -> str:
        """Return what was kept back."""
        return self._place()

    def _written(self, piece: str) -> Iterator[str]:
        for character in piece:
            if character == "\n":
                yield self._place() + "\n"
                self._column, self._blanks = 0, ""
            elif character.isspace():
                if self._word:
                    yield self._place()
                self._blanks += character
            else:
                self._word += character

    def _place(self) -> str:
        """Return the word behind its blanks, or on a line of its own where it does not fit."""
        blanks, word = self._blanks, self._word
        if not word:
            return ""
        self._blanks = self._word = ""
        needed = cell_len(blanks) + cell_len(word)
        if self._column and self._column + needed > self._width:
            self._column = cell_len(word)
            return f"\n{word}"
        self._column += needed
        return blanks + word
