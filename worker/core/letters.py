"""What dead letters have in common: their words without what belongs to one record alone, and what mends such a thing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\u2018[^\u2019]*\u2019|\u201c[^\u201d]*\u201d")
_OPAQUE = re.compile(r"\b(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=[a-z]*\d)[0-9a-f]{12,})\b", re.IGNORECASE)
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?(?!\w)")
_TICKET = re.compile(r"(?<![\w\0])(?=(?:[A-Za-z_]*\d){3})(?=\w*[A-Za-z_])\w+", re.ASCII)
"""A word with three digits or more is about this one request or record: ``req_8fj3kd93``, ``prospect_1234``."""
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:]\d+)*[A-Za-z]{0,2}(?!\w)")
_HIDDEN = re.compile(r"(\[(?:hidden|address|number)\])(?:[\s,]+\1)+")
_TOLD = re.compile(r"unmapped state '[^']*'|'[^']*' is not in [^;]*")
"""Here the value in quotes is the cause."""

_HINTS = (
    (r"unmapped state", "name the state under `states:` in the mapping, `outbook mapping apply`, then retry"),
    (r"is not in|not included in the list", "add the label in the CRM, or mend it in the mapping, then retry"),
    (r"dies without a word|unexpected \w+", "the log tells where it broke; report it, then retry once that is mended"),
    (r"no e-mail address", "give the person an e-mail address, it goes on by itself"),
    (r"already|taken|duplicate|unique", "somebody else has this value: merge the two or change one, then retry"),
    (r"too long|maximum|is longer", "shorten the value on the side it comes from, it goes on by itself"),
    (r"forbid|permission|not allowed|unauthori[sz]ed", "`outbook doctor` tells which right is missing; then retry"),
    (r"blank|required|missing|must be", "fill the field in on the side it comes from, it goes on by itself"),
    (r"invalid|is not a|malformed|not valid", "correct the value on the side it comes from, it goes on by itself"),
    (r"answer|connect|timed? ?out|\b5\d\d\b|throttle|\b429\b", "the vendor could not be reached for long: retry"),
)
SURELY_ALIKE = 160
"""Words that were cut are compared up to here: where exactly they were cut depends on what was left out of them."""
_OTHERWISE = "`outbook failures show` tells the last request and reply; mend that, then retry"


def cause_of(words: str | None) -> str:
    """Return the words of a dead letter with ids, numbers and quoted values left out, so that like ones are equal."""
    if not words:
        return "no reason was noted"
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{chr(0xE000 + len(kept) - 1)}\0"

    text = _TOLD.sub(keep, words)
    text = _OPAQUE.sub("#", _MOMENT.sub("#", _QUOTED.sub("'…'", text)))
    text = _HIDDEN.sub(r"\1", _NUMBER.sub("#", _TICKET.sub("#", text)))
    text = "; ".join(_cut(part) for part in text.split("; "))
    return re.sub(r"\0(.)\0", lambda found: kept[ord(found[1]) - 0xE000], text)


def _cut(part: str) -> str:
    """Return a part of the words as far as its like surely has it, too."""
    return f"{part[: SURELY_ALIKE - 1]}…" if part.endswith("…") and len(part) > SURELY_ALIKE else part


def grouped(told: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return words and how many records they are about, like ones as one cause; what is about one record alone as it is."""
    found: dict[str, list[tuple[str, int]]] = {}
    for words, count in told:
        found.setdefault(cause_of(words), []).append((words, count))
    return [
        (theirs[0][0] if len(theirs) == 1 else cause, sum(count for _, count in theirs))
        for cause, theirs in found.items()
    ]


def hint_of(cause: str) -> str:
    """Return what usually mends such a thing, in a sentence that says what to do."""
    return next((hint for pattern, hint in _HINTS if re.search(pattern, cause, re.IGNORECASE)), _OTHERWISE)
