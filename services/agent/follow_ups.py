"""Making a follow-up question stand alone by rule, for a platform without a language model.

1. A question that neither points back, nor begins like a continuation, nor is nearly without content stays as it is.
2. A pronoun gives way to what the question before was about; `he` and `she` to a name in the answer before.
3. `And invoices?` takes the place of what the question before was about.
4. Anything else that points back, or is short (`And in winter?`), is read behind the question before.

What a question is about: its phrase with a name or a number, else the first with an article, else the first.
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
_DEMONSTRATIVE: Final = re.compile(r"\b(this|that|these|those)\b(?=\s*(?:[?.,;!]|$))", re.IGNORECASE)
_THERE: Final = re.compile(r"\bthere\b(?=\s*(?:[?.,;!]|$))", re.IGNORECASE)
_POSSESSIVE: Final = frozenset({"its", "their", "his", "her"})
_PERSONAL: Final = frozenset({"he", "him", "she", "his", "her"})
# `It` that stands for nothing said before: how long it takes, is it possible.
_EXPLETIVE: Final = re.compile(
    r"\bit (?:takes?|costs?)\b.*\bto\b|\b(?:does|did|will|would|can) it (?:take|cost)\b.*\bto\b"
    r"|\bis it (?:possible|necessary|safe|allowed|true|better|worth|ok|okay)\b|\b(?:rain|snow)",
    re.IGNORECASE,
)
_POINTS_BACK: Final = re.compile(
    r"\b(?:this|that|these|those|same|former|latter|else|others?|another|instead)\b|\b(?:then|one|ones)\W*$",
    re.IGNORECASE,
)
_OPENING: Final = re.compile(r"(?:and|but|or|so|also|then)\b[,\s]*", re.IGNORECASE)
_ABOUT: Final = re.compile(r"(?:(?:and|but|or|so) )?(?:(?:what|how) about )?", re.IGNORECASE)
_FUNCTION: Final = re.compile(
    r"(?:who|whom|whose|what|which|when|where|why|how|if|is|are|was|were|do|does|did|can|could|will|would|should|must|may"
    r"|has|have|had|in|on|at|by|with|without|for|from|to|during|before|after|since|until|under|over|between)\b",
    re.IGNORECASE,
)
_ARTICLES: Final = frozenset({"the", "a", "an", "our", "your", "my"})
_LINKS: Final = frozenset({"of", "for"})
_DO: Final = frozenset(
    ["do", "does", "did", "can", "could", "will", "would", "shall", "should", "must", "may", "might"]
)
_BE: Final = frozenset(["is", "are", "was", "were", "has", "have", "had"])
_PARTICIPLE: Final = re.compile(
    r".{2,}ed$|.{2,}en$|kept|sent|built|made|paid|found|held|run|set|put|read|lost|done|told|shown|sold|left|bought|won"
)
_NAME: Final = re.compile(
    r"[A-Z\u00c0-\u00de][\w\u2019'-]+(?: (?:(?:de|van|von|of) )?[A-Z\u00c0-\u00de][\w\u2019'-]+)+"
)


@dataclass(frozen=True, slots=True)
class _Phrase:
    start: int
    end: int
    named: bool
    article: bool

    @property
    def rank(self) -> tuple[bool, bool]:
        return self.named, self.article


def stand_alone(question: str, before: PastTurn) -> str:
    """Return the question in words that stand without the turn before it, unchanged when it seems to do so anyway."""
    asked = question.strip()
    own = len(content_words(asked))
    if own > MAX_OWN_WORDS:
        return question
    for rule in (_without_pronoun, _without_pointer, _without_ellipsis):
        rewritten = rule(asked, before)
        if rewritten:
            return _bounded(rewritten, question)
    continues = _ABOUT.match(asked)
    points_back = _POINTS_BACK.search(asked) and own <= MAX_OWN_WORDS_BESIDE_THAT
    if own <= 1 or points_back or (continues and continues.end()):
        return _bounded(f"{_core(before.question)} {asked}", question)
    return question


def topic_of(question: str) -> str:
    """Return the phrase that a question is about, empty when it has none."""
    phrase = _topic(question)
    return question[phrase.start : phrase.end] if phrase else ""


def _without_pronoun(question: str, before: PastTurn) -> str:
    pronoun = None if _EXPLETIVE.search(question) else _PRONOUN.search(question)
    if pronoun is None:
        return ""
    word = pronoun.group().lower()
    meant = _person(before) if word in _PERSONAL else ""
    meant = meant or topic_of(_core(before.question))
    if not meant:
        return ""
    # `Her` is an object where no word of its own follows.
    follows = re.match(r"\s+[^\W\d_]", question[pronoun.end() :]) is not None
    owned = "'s" if word in _POSSESSIVE and (word != "her" or follows) else ""
    return _opened(f"{question[: pronoun.start()]}{meant}{owned}{question[pronoun.end() :]}")


def _without_pointer(question: str, before: PastTurn) -> str:
    topic = topic_of(_core(before.question))
    for pointer, place in ((_DEMONSTRATIVE, topic), (_THERE, f"in {topic}")):
        if topic and pointer.search(question):
            return _opened(pointer.sub(lambda _match, place=place: place, question, count=1))  # type: ignore[misc]
    return ""


def _without_ellipsis(question: str, before: PastTurn) -> str:
    """Put what `And invoices?` names into the question before, in the place of what that was about."""
    opening = _ABOUT.match(question)
    named = question[opening.end() :].strip(" ?.!") if opening else ""
    core = _core(before.question)
    topic = _topic(core)
    if not opening or not opening.end() or not named or not topic or _FUNCTION.match(named):
        return ""
    return f"{core[: topic.start]}{named}{core[topic.end :]}"


def _core(question: str) -> str:
    """Return a question without what was read behind it."""
    return question.split("?")[0].strip() + "?"


def _opened(question: str) -> str:
    """Return a question without the `And` that it began with."""
    stripped = _OPENING.sub("", question, count=1) if _OPENING.match(question) else question
    return stripped[:1].upper() + stripped[1:]


def _person(before: PastTurn) -> str:
    named = _NAME.findall(before.answer) if before.answered else []
    return next((str(name) for name in named if name not in before.question), "")


def _topic(question: str) -> _Phrase | None:
    # The first of the best: what a question is about mostly comes before what is said of it.
    return max(_phrases(question), key=lambda phrase: phrase.rank, default=None)


def _phrases(question: str) -> list[_Phrase]:
    words = list(_WORD.finditer(question))
    content = {match.start() for match in content_words(question)}
    found: list[_Phrase] = []
    run: list[re.Match[str]] = []
    ahead = ""

    def close() -> None:
        phrase = _noun_phrase(run, ahead)
        if any(word.start() in content for word in phrase):
            article = phrase[0].group().lower() in _ARTICLES
            found.append(_Phrase(phrase[0].start(), phrase[-1].end(), any(map(_is_name, phrase)), article))
        run.clear()

    for number, word in enumerate(words):
        lower = word.group().lower()
        before = words[number - 1].group().lower() if number else ""
        parted = number and question[words[number - 1].end() : word.start()].strip(" \"'\u201c\u201d")
        article = lower in _ARTICLES
        starts = article and run and run[-1].group().lower() not in _LINKS
        # A verb comes right behind the name that does it.
        acts = run and _is_name(run[-1]) and not _is_name(word) and not article and lower not in _LINKS
        belongs = article or (lower in _LINKS and run) or (word.start() in content and before != "how")
        if parted or starts or acts or not belongs:
            close()
        if belongs:
            ahead = ahead if run else before
            run.append(word)
    close()
    return found


def _noun_phrase(run: list[re.Match[str]], ahead: str) -> list[re.Match[str]]:
    """Return the words of a run without the verb before or behind them."""
    kept = list(run)
    if ahead in ("who", "what") and len(kept) > 1:
        # What happens to a message: the verb comes first.
        kept = kept[1:]
    while kept and kept[0].group().lower() in _LINKS:
        kept = kept[1:]
    while kept and kept[-1].group().lower() in _LINKS | _ARTICLES:
        kept.pop()
    first = next((number for number, word in enumerate(kept) if word.group().lower() not in _ARTICLES), len(kept))
    behind = range(first + 1, len(kept))
    if ahead in _DO and behind and not _is_name(kept[-1]):
        return kept[:-1]
    acts = (number for number in behind if ahead in _BE and _PARTICIPLE.fullmatch(kept[number].group().lower()))
    return kept[: next(acts, len(kept))]


def _is_name(word: re.Match[str]) -> bool:
    """A capital says nothing at the beginning of a question; a digit does anywhere."""
    text = word.group()
    return (text[0].isupper() and word.start() > 0) or any(map(str.isdigit, text)) or (len(text) > 1 and text.isupper())


def _bounded(rewritten: str, question: str) -> str:
    return rewritten if len(rewritten) <= max(MAX_CHARACTERS, len(question)) else question
