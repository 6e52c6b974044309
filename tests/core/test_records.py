"""Records: fingerprints, and which side holds what."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import QUARTER
from worker.core.records import Kind, Ref, System, fingerprint

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3), max_size=3)
)
FIELDS = st.dictionaries(st.sampled_from("abcdef"), VALUES, max_size=5)
RELATIONS = st.dictionaries(st.sampled_from("xyz"), st.none() | st.integers(1, 9), max_size=3)


def test_fingerprint_is_the_same_in_every_release() -> None:
    """The stored fingerprints of half a million records stay valid: this one never changes."""
    told = b'[{"emails":["a@example.com"],"note":null,"opted":false,"title":"Analyst"},{"owner":3}]'
    known = hashlib.blake2b(told, digest_size=16).hexdigest()
    assert known == "edff4688145e9a2086443cf591207502"
    assert (
        fingerprint({"title": "Analyst", "emails": ["a@example.com"], "opted": False, "note": None}, {"owner": 3})
        == known
    )


@given(fields=FIELDS, relations=RELATIONS)
@QUARTER
def test_fingerprint_ignores_the_order_of_keys(fields: dict[str, object], relations: dict[str, int | None]) -> None:
    """The same values in another order have the same fingerprint."""
    turned = dict(reversed(fields.items()))
    assert fingerprint(fields, relations) == fingerprint(turned, dict(reversed(relations.items())))  # type: ignore[arg-type]


@given(one=FIELDS, other=FIELDS)
@QUARTER
def test_fingerprint_tells_different_values_apart(one: dict[str, object], other: dict[str, object]) -> None:
    """Records have the same fingerprint only if they hold the same; 0, False and "" are not the same."""
    same = repr(sorted(one.items())) == repr(sorted(other.items()))
    assert (fingerprint(one) == fingerprint(other)) == same  # type: ignore[arg-type]


def test_absent_null_and_empty_are_three_values() -> None:
    """A field that is not told, null, an empty text and an empty list have four fingerprints."""
    prints = {fingerprint({}), fingerprint({"a": None}), fingerprint({"a": ""}), fingerprint({"a": []})}
    assert len(prints) == 4


def test_relations_count() -> None:
    """A relation that is not told, one that is empty and one that is set have three fingerprints; fields are no relations."""
    prints = {
        fingerprint({}),
        fingerprint({}, {"owner": None}),
        fingerprint({}, {"owner": 1}),
        fingerprint({"owner": 1}),
    }
    assert len(prints) == 4


def test_order_of_a_list_counts() -> None:
    """The first address is the one that is shown: another order is another value."""
    assert fingerprint({"emails": ["a", "b"]}) != fingerprint({"emails": ["b", "a"]})


@pytest.mark.parametrize(
    "kind, system",
    [
        (Kind.SEQUENCE, System.OUTREACH),
        (Kind.STEP, System.OUTREACH),
        (Kind.PROSPECT, System.OUTREACH),
        (Kind.STATE, System.OUTREACH),
        (Kind.TASK, System.OUTREACH),
        (Kind.PERSON, System.CRM),
        (Kind.CRM_TASK, System.CRM),
    ],
)
def test_each_kind_belongs_to_one_side(kind: Kind, system: System) -> None:
    """People and CRM tasks are the CRM's, everything else is Outreach's."""
    assert kind.system is system


def test_ref_reads_as_in_logs() -> None:
    """A reference is written as kind and id."""
    assert str(Ref(Kind.PROSPECT, 7)) == "prospects:7"
