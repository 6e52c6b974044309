"""A vendor's words as they may be logged and kept: short, on one line, without keys, addresses, numbers and people."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WORDS_CAP = 240
"""Longest quotation of a vendor; with our own few words around it, an error stays within 300 letters."""

_ADDRESS = re.compile(r"(?:\"[^\"@]{1,64}\"|[^\s<>\"'=(,;:]+)[@\uff20\ufe6b][^\s<>\"',;)]+")
_OPAQUE = re.compile(r"(?=[A-Za-z_\-.+/=]*\d)[A-Za-z0-9_\-.+/=]{40,}")
_PHONE = re.compile(r"(?<![\w.-])(?:\+|0)\d[\d ()./-]{6,}\d")
_PERSONAL = re.compile(
    r"name|email|phone|mobile|fax|title|address|street|town|postcode|description|note", re.IGNORECASE
)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_INITIALS = 2
"""Two letters may be somebody's name, one is not hidden."""
_ANYWHERE_FROM = 8
"""So long a text is hidden inside of words as well; a shorter one only where no letter stands beside it."""


def say(text: str, hide: Iterable[str] = ()) -> str:
    """Return a vendor's words without addresses, phone numbers, tokens and what is in ``hide``, cut to 240 letters.

    What is there in another spelling (percent signs, entities, JSON's escapes) is hidden too; the rest is then told plainly.
    """
    spelt = sorted({unicodedata.normalize("NFC", one) for one in hide}, key=len, reverse=True)
    secrets = [one for one in spelt if len(one) > _INITIALS or (len(one) == _INITIALS and one.isalpha())]
    told = _without(unicodedata.normalize("NFC", text), secrets)
    plainer = unicodedata.normalize("NFC", html.unescape(unquote_plus(_ESCAPE.sub(_letter, told))))
    if (without := _without(plainer, secrets)) != plainer:
        told = without
    told = " ".join("".join(c if c.isprintable() else " " for c in told).split())
    return told if len(told) <= WORDS_CAP else told[: WORDS_CAP - 1] + "…"


def _without(text: str, secrets: Iterable[str]) -> str:
    folded = text.casefold()
    for secret in secrets:
        if secret.casefold() in folded:
            text = _pattern(secret).sub("[hidden]", text)
    text = _ADDRESS.sub("[address]", text)
    text = _OPAQUE.sub("[hidden]", text)
    return _PHONE.sub("[number]", text)


def _pattern(secret: str) -> re.Pattern[str]:
    """Return what finds a text; two letters only as they are written, for another spelling of them is a word."""
    if len(secret) >= _ANYWHERE_FROM or not secret.isascii():
        return re.compile(re.escape(secret), re.IGNORECASE)
    return re.compile(
        rf"(?<![^\W\d_]){re.escape(secret)}(?![^\W\d_])", 0 if len(secret) == _INITIALS else re.IGNORECASE
    )


def _letter(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def personal(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts among ``fields`` that may be a person's data, to be hidden in a vendor's words about them."""
    found: list[str] = []
    for name, value in fields.items():
        if _PERSONAL.search(name) and not name.startswith("cf_"):
            found += [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]
    return tuple(found)
