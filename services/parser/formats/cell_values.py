"""Numbers of a spreadsheet as a reader sees them: dates in ISO form, percentages, no noise of floating point."""

import re
from datetime import datetime, timedelta
from typing import Final, Literal

NumberKind = Literal["general", "date", "time", "date and time", "duration", "percent", "padded"]

# ECMA-376 part 1, 18.8.30; 27 to 36 and 50 to 58 are dates in East Asian editions.
_BUILT_IN: Final[dict[int, NumberKind]] = {
    **dict.fromkeys((9, 10), "percent"),
    **dict.fromkeys((*range(14, 18), *range(27, 32), 36, *range(50, 59)), "date"),
    **dict.fromkeys((*range(18, 22), *range(32, 36), 45, 47), "time"),
    22: "date and time",
    46: "duration",
}
_LITERAL: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.I)
_MINUTES: Final = re.compile(r"(?<=[h:])\s*m+|m+(?=:?\s*s)", re.I)
_DAY_SECONDS: Final = 86_400
_EPOCH_1904: Final = datetime(1904, 1, 1)
_EPOCH: Final = datetime(1899, 12, 30)
# Excel takes 1900 for a leap year, as Lotus did: before 1 March 1900 its days are one off.
_LEAP_DAY: Final = 60
_SIGNIFICANT_DIGITS: Final = 15


def kind_of_format(format_id: int, code: str | None) -> NumberKind:
    """Tell what a number format makes of a number; `code` is that of a format that is not built in."""
    if code is None:
        return _BUILT_IN.get(format_id, "general")
    shown = _LITERAL.sub("", code.partition(";")[0]).lower()
    if "[" in shown:
        return "duration"
    if re.fullmatch("0{2,}", shown):
        return "padded"
    without_minutes = _MINUTES.sub("", shown.replace("am/pm", "").replace("a/p", ""))
    date = re.search("[ymd]", without_minutes) is not None
    time = re.search("[hs]", shown) is not None
    if date or time:
        return "date and time" if date and time else "date" if date else "time"
    return "percent" if "%" in shown else "general"


def number_text(raw: str, kind: NumberKind = "general", *, width: int = 0, since_1904: bool = False) -> str:
    """Return a stored number as text; what is no number stays as it is."""
    try:
        value = float(raw)
        if kind in ("date", "time", "date and time"):
            return _moment(value, kind, since_1904=since_1904)
    except (ValueError, OverflowError):
        return raw
    if kind == "duration":
        return _duration(value)
    if kind == "percent":
        return _plain(value * 100) + "%"
    return (raw if raw.lstrip("-").isdigit() else _plain(value)).zfill(width)


def _moment(value: float, kind: NumberKind, *, since_1904: bool) -> str:
    days = value + 1 if not since_1904 and 1 <= value < _LEAP_DAY else value
    moment = (_EPOCH_1904 if since_1904 else _EPOCH) + timedelta(seconds=round(days * _DAY_SECONDS))
    if kind == "time" and 0 <= value < 1:
        return moment.time().isoformat()
    midnight = round(days * _DAY_SECONDS) % _DAY_SECONDS == 0
    return moment.date().isoformat() if kind == "date" or midnight else moment.isoformat(" ")


def _duration(days: float) -> str:
    minutes, seconds = divmod(round(abs(days) * _DAY_SECONDS), 60)
    return f"{'-' if days < 0 else ''}{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _plain(value: float) -> str:
    whole = value.is_integer() and abs(value) < 10**_SIGNIFICANT_DIGITS
    return str(int(value)) if whole else f"{value:.{_SIGNIFICANT_DIGITS}g}"
