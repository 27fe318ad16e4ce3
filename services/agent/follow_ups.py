"""Making a follow-up question stand alone by rule, for a platform without a language model.

1. A question stays as it is unless it points back (`it`, `that`, `there`), begins like a continuation (`and`, `what
   about`) or is nearly without content (`Why?`).
2. `He` and `she` give way to a name in the answer before.
3. It is read behind what it points back to: the question that began this, and the last one.

That finds passages; a sentence is better picked by the question as it was asked. How often it helps and harms, also
beside putting nouns in the place of pronouns: docs/decisions/0030-conversations.md.
"""

import re
from typing import Final

from contracts.conversations import PastTurn
from services.agent.coverage import content_words

MAX_CHARACTERS: Final = 1_000
# A question with more content of its own mostly means its own words by `it` and `that`.
MAX_OWN_WORDS: Final = 6
MAX_OWN_WORDS_BESIDE_THAT: Final = 3
# Behind more, a pronoun means something in the question itself.
MAX_WORDS_BEFORE_A_PRONOUN: Final = 2

_PRONOUN: Final = re.compile(r"\b(?:it|they|them|he|him|she|its|their|his|her)\b", re.IGNORECASE)
_PERSON: Final = re.compile(r"\b(?:he|him|she|his|her)\b", re.IGNORECASE)
# `It` that stands for nothing said before: how long it takes, is it possible.
_EXPLETIVE: Final = re.compile(
    r"\bit (?:takes?|costs?)\b.*\bto\b|\b(?:does|did|will|would|can) it (?:take|cost)\b.*\bto\b"
    r"|\bis it (?:possible|necessary|safe|allowed|true|better|worth|ok|okay)\b|\b(?:rain|snow)",
    re.IGNORECASE,
)
_AT_ITS_END: Final = re.compile(r"\b(?:this|that|these|those|there|then|ones?)\b(?=\s*(?:[?.,;!]|$))", re.IGNORECASE)
_POINTER: Final = re.compile(
    r"\b(?:this|that|these|those|same|former|latter|else|others?|another|instead)\b", re.IGNORECASE
)
_CONTINUES: Final = re.compile(r"(?:and|but|or|so|also|what about|how about|what if|why not)\b", re.IGNORECASE)
_NAME: Final = re.compile(
    r"[A-Z\u00c0-\u00de][\w\u2019'-]+(?: (?:(?:de|van|von|of) )?[A-Z\u00c0-\u00de][\w\u2019'-]+)+"
)
_QUESTION: Final = re.compile(r"[^?\uff1f]+[?\uff1f]*")


def stand_alone(question: str, before: PastTurn) -> str:
    """Return the question in words that stand without the turn before it, unchanged when it seems to do so anyway."""
    if not points_back(question):
        return question
    rewritten = f"{_context(before.question)} {_named(question.strip(), before)}"
    return rewritten if len(rewritten) <= max(MAX_CHARACTERS, len(question)) else question


def points_back(question: str) -> bool:
    """Tell whether a question seems to mean something that was said before it."""
    own = len(content_words(question))
    if own <= 1:
        return True
    if own > MAX_OWN_WORDS or _EXPLETIVE.search(question):
        return False
    pronoun = _PRONOUN.search(question)
    if pronoun and len(content_words(question[: pronoun.start()])) <= MAX_WORDS_BEFORE_A_PRONOUN:
        return True
    if _AT_ITS_END.search(question) or _CONTINUES.match(question.strip()):
        return True
    return own <= MAX_OWN_WORDS_BESIDE_THAT and _POINTER.search(question) is not None


def _context(question: str) -> str:
    """Return the first and the last of the questions that were read one behind the other."""
    asked = [part.strip() for part in _QUESTION.findall(question) if part.strip()]
    return " ".join(asked if len(asked) < 3 else (asked[0], asked[-1]))


def _named(question: str, before: PastTurn) -> str:
    names = _NAME.findall(before.answer) if before.answered else []
    name = next((str(name) for name in names if name not in before.question), "")
    return _PERSON.sub(lambda _match: name, question, count=1) if name else question
