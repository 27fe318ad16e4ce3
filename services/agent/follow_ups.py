"""Making a follow-up question stand alone by rule, for a platform without a language model.

1. A question that neither points back, nor begins like a continuation, nor is nearly without content stays as it is.
2. A pronoun gives way to what the question before was about; `he` and `she` to a name in the answer before.
3. Anything else that points back, or is an ellipsis (`And in winter?`), is read behind the question before.

What the question before was about: the phrase in it that holds a name or a number, else the first with an article.
How often that helps and harms: docs/decisions/0030-conversations.md.
"""

import re
from dataclasses import dataclass
from typing import Final

from contracts.conversations import PastTurn
from services.agent.coverage import content_words

MAX_CHARACTERS: Final = 1_000
# A question with more content of its own mostly means its own words by `it` and `that`.
MAX_OWN_WORDS: Final = 6
MAX_OWN_WORDS_BESIDE_THAT: Final = 3

_WORD: Final = re.compile(r"[^\W_]+(?:[-.'\u2019][^\W_]+)*")
_PRONOUN: Final = re.compile(r"\b(it|they|them|he|him|she|its|their|his|her)\b", re.IGNORECASE)
_POSSESSIVE: Final = frozenset({"its", "their", "his", "her"})
_PERSONAL: Final = frozenset({"he", "him", "she", "his", "her"})
# `It` that stands for nothing said before: how long it takes, is it possible.
_EXPLETIVE: Final = re.compile(
    r"\bit (?:takes?|costs?)\b.*\bto\b|\b(?:does|did|will|would|can) it (?:take|cost)\b.*\bto\b"
    r"|\bis it (?:possible|necessary|safe|allowed|true|better|worth|ok|okay)\b|\b(?:rain|snow)",
    re.IGNORECASE,
)
_POINTS_BACK: Final = re.compile(
    r"\b(?:this|that|these|those|same|former|latter|else|others?|another|instead)\b|\b(?:there|then|one|ones)\W*$",
    re.IGNORECASE,
)
_CONTINUES: Final = re.compile(r"(?:and|but|or|so|also|what about|how about|what if|why not)\b", re.IGNORECASE)
_ARTICLES: Final = frozenset({"the", "a", "an", "our", "your", "my"})
_LINKS: Final = frozenset({"of", "for", "in", "on", "at", "to"})
_NAME: Final = re.compile(
    r"[A-Z\u00c0-\u00de][\w\u2019'-]+(?: (?:(?:de|van|von|of) )?[A-Z\u00c0-\u00de][\w\u2019'-]+)+"
)


@dataclass(frozen=True, slots=True)
class _Phrase:
    text: str
    named: bool
    article: bool

    @property
    def rank(self) -> tuple[bool, bool]:
        return self.named, self.article


def stand_alone(question: str, before: PastTurn) -> str:
    """Return the question in words that stand without the turn before it, unchanged when it seems to do so anyway."""
    own = len(content_words(question))
    pronoun = None if _EXPLETIVE.search(question) else _PRONOUN.search(question)
    continues = _CONTINUES.match(question.strip()) is not None
    if pronoun and own <= MAX_OWN_WORDS:
        meant = _meant_by(pronoun.group().lower(), before)
        if meant:
            return _bounded(_put(question, pronoun, meant), question)
    points_back = _POINTS_BACK.search(question) is not None and own <= MAX_OWN_WORDS_BESIDE_THAT
    if (
        (pronoun and own <= MAX_OWN_WORDS_BESIDE_THAT)
        or points_back
        or (continues and own <= MAX_OWN_WORDS)
        or own <= 1
    ):
        return _bounded(f"{before.question.strip()} {question.strip()}", question)
    return question


def topic_of(question: str) -> str:
    """Return the phrase that a question is about, empty when it has none."""
    phrases = _phrases(question)
    # The first of the best: what a question is about mostly comes before what is said of it.
    return max(phrases, key=lambda phrase: phrase.rank).text if phrases else ""


def _meant_by(pronoun: str, before: PastTurn) -> str:
    if pronoun in _PERSONAL and before.answered:
        named = [name for name in _NAME.findall(before.answer) if name not in before.question]
        if named:
            return str(named[0])
    return topic_of(before.question)


def _put(question: str, pronoun: re.Match[str], meant: str) -> str:
    word = pronoun.group().lower()
    # `Her` is an object where no word of its own follows.
    follows = re.match(r"\s+[^\W\d_]", question[pronoun.end() :]) is not None
    owned = word in _POSSESSIVE and (word != "her" or follows)
    return f"{question[: pronoun.start()]}{meant}{chr(39) + 's' if owned else ''}{question[pronoun.end() :]}"


def _phrases(question: str) -> list[_Phrase]:
    content = {match.start() for match in content_words(question)}
    found: list[_Phrase] = []
    run: list[re.Match[str]] = []

    def close() -> None:
        while run and (run[-1].group().lower() in _LINKS | _ARTICLES):
            run.pop()
        if any(word.start() in content for word in run):
            names = [word for word in run if _is_name(word)]
            article = run[0].group().lower() in _ARTICLES
            found.append(_Phrase(question[run[0].start() : run[-1].end()], bool(names), article))
        run.clear()

    for word in _WORD.finditer(question):
        lower = word.group().lower()
        if run and question[run[-1].end() : word.start()].strip(" \"'\u201c\u201d"):
            close()
        if lower in _ARTICLES:
            if run and run[-1].group().lower() not in _LINKS:
                close()
            run.append(word)
        elif lower in _LINKS and run:
            run.append(word)
        elif word.start() in content:
            # A verb comes right behind the name that does it.
            if run and _is_name(run[-1]) and not _is_name(word):
                close()
            run.append(word)
        else:
            close()
    close()
    return found


def _is_name(word: re.Match[str]) -> bool:
    """A capital says nothing at the beginning of a question; a digit does anywhere."""
    text = word.group()
    return (text[0].isupper() and word.start() > 0) or any(map(str.isdigit, text)) or (len(text) > 1 and text.isupper())


def _bounded(rewritten: str, question: str) -> str:
    return rewritten if len(rewritten) <= max(MAX_CHARACTERS, len(question)) else question
