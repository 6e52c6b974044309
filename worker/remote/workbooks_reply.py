"""What became of each object of a batch, read from Workbooks' reply by name and never by position.

HTTP 200 says nothing. The manual shows one failure (``errors`` under "[]", ``affected_object_errors``), tells of a
second (``failures``) without its shape, and newer replies carry ``affected_object_information`` (facts, section 4). So
every place that may hold words is read in every shape seen, a success must be proven by an object that carries our own
id or reference, and an object that nothing answers for is uncertain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.remote import base, quoting
from worker.remote.workbooks_wire import Applied, Outcome, Refused, Stale, Uncertain, Write, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STALE = re.compile(r"updated\s+elsewhere|changed\s+elsewhere|stale", re.IGNORECASE)
_TEXTS = ("title", "message", "error", "body", "detail", "reason")
_SPOKEN = {"message", "error", "body", "detail", "reason"}
"""An object with one of these as a text is a remark; without, its keys are fields."""
_BESIDE = {"id", "object_id", "success", "code"}
_OF_THE_WHOLE = {"[]", "errors", "messages", "base"}
"""Keys under which words about the record as a whole stand; ``base`` is Rails'."""
_NO_WORDS = "Workbooks answered that it failed and gave no reason"
_UNNAMED = "Workbooks' reply does not answer for this object"

Words = dict[str, str]
"""Field → the vendor's words; "" for words that name no field."""


def outcomes(
    document: object, writes: Sequence[Write], *, reference_field: str, hide: Iterable[str] = ()
) -> list[Outcome]:
    """Return the outcome of each write, in the order of ``writes``, from the reply's JSON."""
    if not isinstance(document, dict):
        return [Uncertain("the reply is not an object")] * len(writes)
    reading = _Reading.of(document, writes, reference_field)
    found = [reading.outcome(place) for place in range(len(writes))]
    secrets = tuple(hide)
    return [_spoken_safely(outcome, write, secrets) for outcome, write in zip(found, writes, strict=True)]


def words(document: object) -> str:
    """Return what a failed reply says, in one line; "" when it says nothing. May hold anything: speak it safely."""
    if not isinstance(document, dict):
        return ""
    return _one_line(_top_words(document, set())[0]) or _remark(document)


@dataclass(slots=True)
class _Reading:
    """One reply, its arrays matched to the writes."""

    writes: Sequence[Write]
    succeeded: bool | None
    objects: list[Any]
    infos: list[Any]
    object_errors: list[Any]
    common: Words
    """Words at the reply's top that name no object."""
    named: dict[int, Words]
    """Words at the reply's top that name an object by its id."""
    remark: str
    """What else the reply says of itself when it failed; no reason to blame a record for."""
    places: dict[int, int] = field(default_factory=dict)
    """Index of the write → index of the one returned object that carries its id or reference."""

    @classmethod
    def of(cls, document: Mapping[str, Any], writes: Sequence[Write], reference_field: str) -> _Reading:
        """Return the reply's parts, whatever is missing or misshapen left empty."""
        common, named = _top_words(document, {write.id for write in writes if write.id})
        object_errors = _list(document.get("affected_object_errors"))
        failures = _list(document.get("failures"))
        if not object_errors and not named and len(failures) == len(writes) > 1:
            # One failure for each object sent, and none of them says whose it is.
            object_errors = failures
            common, _ = _top_words({"errors": document.get("errors")}, set())
        reading = cls(
            writes=writes,
            succeeded=_truth(document.get("success")),
            objects=_list(document.get("affected_objects")),
            infos=_list(document.get("affected_object_information")),
            object_errors=object_errors,
            common=common,
            named=named,
            remark=_remark(document),
        )
        reading.places = _places(reading.objects, writes, reference_field)
        reading._place_lone_create(reference_field)
        reading._drop_attributed()
        return reading

    def outcome(self, place: int) -> Outcome:
        """Return what became of one write."""
        words, told = self._words(place), self._told(place)
        failed = bool(words) or told is False
        if not failed and self._proven(place):
            return self._applied(place)
        lone = len(self.writes) == 1 or self._only_unanswered(place)
        if failed or lone:
            words = words or self.common
        if any(name == "lock_version" or _STALE.search(text) for name, text in words.items()):
            return Stale(_one_line(words))
        contradicted = self.succeeded is True and place in self.places
        if not failed and (contradicted or not lone):
            return Uncertain(_one_line(self.common) or self.remark or _UNNAMED)
        if words or failed:
            return Refused(words or {"": self.remark or _NO_WORDS})
        return Uncertain(self.remark or _UNNAMED)

    def _proven(self, place: int) -> bool:
        """Tell whether the object returned for a write proves that it was saved.

        The reply must say so for the whole, or, under per-object transactions, for this object. Where it also tells of
        failures, a lock version that has not moved is no proof: a server that rolled everything back says the same.
        """
        item = self.objects[self.places[place]] if place in self.places else {}
        if (base.whole(item.get("id")) or 0) <= 0 or self.succeeded is None:
            return False
        told, info, write = self._told(place), self._info(place), self.writes[place]
        version = base.whole(item.get("lock_version"))
        if self.succeeded and not self.common:
            return told is True or (not info and not (info is None and self.unplaced_trouble))
        if len(self.writes) == 1 and self.common:
            return False
        if self.succeeded and not info and not self.unplaced_trouble:
            return not write.id or (version is not None and version > write.version)
        return told is True and (not write.id or version is None or version > write.version)

    def _applied(self, place: int) -> Applied:
        """Return the receipt of a write."""
        item = self.objects[self.places[place]]
        fields = {name: value for name, value in item.items() if name != "id"}
        version = base.whole(item.get("lock_version"))
        return Applied(base.whole(item["id"]) or 0, version, fields, parse_time(item.get("updated_at")))

    def _info(self, place: int) -> object:
        """Return the information about a write: beside its object, else at its place where places can be trusted."""
        if len(self.infos) == len(self.objects) and place in self.places:
            return self.infos[self.places[place]]
        return self.infos[place] if self._by_position(self.infos) else None

    def _told(self, place: int) -> bool | None:
        """Return the success flag that is about one write, if there is one."""
        info = self._info(place)
        return _truth(info.get("success")) if isinstance(info, dict) else None

    def _by_position(self, entries: list[Any]) -> bool:
        """Tell whether an array has one entry a write, and the named objects stand in the order of the writes."""
        seen = [self.places[place] for place in sorted(self.places)]
        if len(self.objects) == len(self.writes):
            return len(entries) == len(self.writes) and seen == sorted(self.places)
        return len(entries) == len(self.writes) and seen == sorted(seen)

    @property
    def unplaced_trouble(self) -> bool:
        """Whether some entry tells of a failure but cannot be laid at one write's door."""
        entries = [] if self._by_position(self.object_errors) else self.object_errors
        failing = (_truth(info.get("success")) is False for info in self.infos if isinstance(info, dict))
        return any(map(_words_of, entries)) or any(failing)

    def _words(self, place: int) -> Words:
        """Return the words that are about one write."""
        words: Words = dict(self.named.get(self.writes[place].id, {}))
        info = self._info(place)
        if isinstance(info, dict):
            words |= _words_of(info.get("errors")) | _words_of(info.get("failures"))
            if not words and _truth(info.get("success")) is False:
                words = _words_of(info.get("message"))
        else:
            words |= _words_of(info)
        if self._by_position(self.object_errors):
            words |= _words_of(self.object_errors[place])
        return words

    def _only_unanswered(self, place: int) -> bool:
        """Tell whether every other write has its own answer, so that the common words must be this one's."""
        others = (other for other in range(len(self.writes)) if other != place)
        return bool(self.common) and all(self._words(other) or self._proven(other) for other in others)

    def _drop_attributed(self) -> None:
        """Leave in the common words only those that no write already has as its own."""
        own = [text for place in range(len(self.writes)) for text in self._words(place).values()]
        if len(self.writes) > 1:
            self.common = {
                name: text for name, text in self.common.items() if not any(text in one or one in text for one in own)
            }

    def _place_lone_create(self, reference_field: str) -> None:
        """Match the only create to the only new object of a complete success that does not echo the reference."""
        creates = [place for place, write in enumerate(self.writes) if not write.id]
        complete = self.succeeded is True and not (self.common or self.named or self.unplaced_trouble)
        if not complete or len(creates) != 1 or creates[0] in self.places or len(self.objects) != len(self.writes):
            return
        ours = {write.id for write in self.writes}
        new = [
            index
            for index, item in enumerate(self.objects)
            if isinstance(item, dict) and reference_field not in item and (base.whole(item.get("id")) or 0) > 0
        ]
        new = [index for index in new if base.whole(self.objects[index]["id"]) not in ours]
        if len(new) == 1:
            self.places[creates[0]] = new[0]


def _places(objects: list[Any], writes: Sequence[Write], reference_field: str) -> dict[int, int]:
    """Return for each write the one returned object that carries its id, or for a create its reference."""
    by_id: dict[int, list[int]] = {}
    by_reference: dict[str, list[int]] = {}
    updated = {write.id for write in writes if write.id}
    for index, item in enumerate(objects):
        if not isinstance(item, dict):
            continue
        number = base.whole(item.get("id"))
        if number in updated:
            by_id.setdefault(number or 0, []).append(index)
        elif isinstance(item.get(reference_field), str | int):
            by_reference.setdefault(str(item[reference_field]), []).append(index)
    places: dict[int, int] = {}
    for place, write in enumerate(writes):
        found = by_id.get(write.id, []) if write.id else by_reference.get(write.reference or "", [])
        if len(found) == 1:
            places[place] = found[0]
    return places


def _top_words(document: Mapping[str, Any], ids: set[int]) -> tuple[Words, dict[int, Words]]:
    """Return the words of ``failures`` and ``errors``: those that name no object, and those under one of our ids."""
    common: Words = {}
    named: dict[int, Words] = {}
    for part in (document.get("failures"), document.get("errors")):
        entries = part if isinstance(part, list) else [part]
        for entry in entries:
            _sort_entry(entry, ids, common, named)
    return common, named


def _remark(document: Mapping[str, Any]) -> str:
    """Return what a reply without success says beside its errors."""
    if _truth(document.get("success")) is True:
        return ""
    found = (_one_line(_words_of(document.get(key))) for key in ("failure_reason", "message", "flash"))
    return next((text for text in found if text), "")


def _sort_entry(entry: object, ids: set[int], common: Words, named: dict[int, Words]) -> None:
    """Put one entry of ``failures`` or ``errors`` where it belongs."""
    if isinstance(entry, dict):
        number = base.whole(entry.get("id", entry.get("object_id")))
        if number in ids:
            named.setdefault(number or 0, {}).update(_words_of(entry) or {"": _NO_WORDS})
            return
        for key, value in entry.items():
            number = base.whole(str(key).strip("[]"))
            if number in ids:
                named.setdefault(number or 0, {}).update(_words_of(value) or {"": _NO_WORDS})
        entry = {key: value for key, value in entry.items() if base.whole(str(key).strip("[]")) not in ids}
    _merge(common, _words_of(entry))


def _words_of(value: object) -> Words:
    """Return field → words of any shape: text, list, ``{field: text or list}``, ``{"[]": {…}}``, ``{title, body}``."""
    if isinstance(value, str):
        return {"": value} if value.strip() else {}
    words: Words = {}
    if isinstance(value, list):
        for item in value:
            _merge(words, _words_of(item))
        return words
    if not isinstance(value, dict):
        return words
    if any(isinstance(value.get(key), str) for key in _SPOKEN):
        name = value.get("field", value.get("attribute"))
        text = ": ".join(value[key] for key in _TEXTS if isinstance(value.get(key), str) and value[key])
        _merge(words, _under(name if isinstance(name, str) else "", {"": text} if text else {}))
        _merge(words, _words_of(value.get("errors")))
        return words
    for name, inner in value.items():
        if name not in _BESIDE:
            whole = name in _OF_THE_WHOLE or base.whole(name) is not None
            _merge(words, _under("" if whole else str(name), _words_of(inner)))
    return words


def _under(name: str, words: Words) -> Words:
    """Return words that name no field as words about ``name``; those that name one keep it."""
    return {inner or name: text for inner, text in words.items()}


def _merge(words: Words, others: Words) -> None:
    """Add ``others`` to ``words``, texts about one field joined."""
    for name, text in others.items():
        known = words.get(name)
        words[name] = text if known is None or known == text else f"{known}; {text}"


def _one_line(words: Words) -> str:
    """Return all words as one text."""
    return "; ".join(f"{name}: {text}" if name else text for name, text in words.items())


def _spoken_safely(outcome: Outcome, write: Write, hide: Iterable[str]) -> Outcome:
    """Return the outcome with its words free of what identifies the person."""
    if isinstance(outcome, Applied):
        return outcome
    secrets = [*hide, *quoting.personal(write.fields), *write.hide]
    if isinstance(outcome, Refused):
        named = (
            (name if name in write.fields else quoting.say(name, secrets), text)
            for name, text in outcome.errors.items()
        )
        return Refused({name: quoting.say(text, secrets) for name, text in named})
    return type(outcome)(quoting.say(outcome.words, secrets))


def _list(value: object) -> list[Any]:
    """Return a list as it is, anything else as an empty one."""
    return value if isinstance(value, list) else []


def _truth(value: object) -> bool | None:
    """Return a success flag, or None when there is none."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None
