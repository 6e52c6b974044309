"""Effects added up: the same sum in any order, however they are shared out, and a hash of what would be written alone."""

from __future__ import annotations

import itertools

from tests.core.makers import link, mapping, person, prospect, state
from worker.core import plan
from worker.core.effects import Effect, Sum, digest_of, effect_of
from worker.core.plan import PersonView

TITLE, FLAG = "person_job_title", "no_email_soliciting"
ON_HOLD = ('paused:     "Active – Paused"', 'paused:     "On Hold"')

NEW = Effect(1, None, "create", {TITLE: (None, "Clerk"), FLAG: (None, True)})
EDITED = Effect(2, 55, "update", {TITLE: ("Clerk", None)}, {"title": (None, "Clerk"), "emailOptedOut": (False, True)})
BACK = Effect(3, 56, "recreate", {TITLE: (None, "Boss")})
SKIPPED = Effect(None, 55, "create task", {"name": (None, "Skipped call")}, task=9)
DONE = Effect(None, None, "markComplete task", {}, {"action": (None, "markComplete")}, 8)
EVERY = (NEW, EDITED, BACK, SKIPPED, DONE)


def summed(*effects: Effect) -> Sum:
    """Add some effects up."""
    total = Sum()
    for one in effects:
        total.add(one, mapping())
    return total


def test_each_effect_counts_where_it_is_seen() -> None:
    """By side: who is new, edited, brought back, opted out, emptied; tasks apart from people; by field how many."""
    total = summed(*EVERY)
    assert {name: n for name, n in total.crm.items() if n} == {
        "created": 1,
        "updated": 1,
        "recreated": 1,
        "opted_out": 1,
        "cleared": 1,
        "tasks_cancelled": 1,
    }
    assert {name: n for name, n in total.outreach.items() if n} == {"updated": 1, "opted_out": 1, "tasks_finished": 1}
    assert total.fields["workbooks", TITLE] == 3
    assert total.cleared["workbooks", TITLE] == 1
    assert (total.fields["workbooks tasks", "name"], total.fields["outreach", "action"]) == (1, 1)


def test_a_sum_is_the_same_in_any_order_and_any_shares() -> None:
    """Whoever adds first, alone or in two halves: the same numbers and the same hash."""
    whole = summed(*EVERY)
    for order in itertools.permutations(EVERY):
        halves = summed(*order[:2])
        halves.join(summed(*order[2:]))
        assert (halves.digest, halves.crm, halves.outreach, halves.fields) == (
            whole.digest,
            whole.crm,
            whole.outreach,
            whole.fields,
        )


def test_the_hash_is_of_what_would_be_written() -> None:
    """Another value, another record, another mapping or scope makes another hash; what stands there before does not."""
    before = Effect(2, 55, "update", {TITLE: ("Chief", None)}, EDITED.outreach)
    assert before.number == EDITED.number
    other = [
        Effect(2, 55, "update", {TITLE: ("Clerk", "Boss")}),
        Effect(4, 55, "update", EDITED.crm, EDITED.outreach),
        NEW,
    ]
    hashes = {digest_of(summed(one), "v1", "everyone") for one in (EDITED, *other)}
    hashes |= {digest_of(summed(EDITED), *where) for where in (("v2", "everyone"), ("v1", "selection"))}
    assert len(hashes) == 6


def test_samples_show_each_action_and_each_field_twice_at_most() -> None:
    """Of a thousand alike two are shown; the first with another field is shown as well."""
    alike = [Effect(n, n, "update", {TITLE: (None, "x")}) for n in range(1000)]
    total = summed(*alike, Effect(1000, 1000, "update", {"person_first_name": (None, "x")}), NEW)
    assert [one.prospect for one in total.samples] == [0, 1, 1000, 1]


def test_what_another_mapping_would_write_anyway_is_no_effect() -> None:
    """A new label is the mapping's effect; the edited title is written by the old one just as well."""
    old, new = mapping(), mapping(ON_HOLD)
    agreed = {"person_first_name": "Ada", "person_last_name": "Byron", "person_job_title": "Clerk"}
    held = {**agreed, "cf_person_sequence_state": "Active – Paused", "main_location[email]": "ada@example.com"}
    view = PersonView(7, prospect(title="Boss"), (state("paused"),), person(held), link(agreed, held))
    found = effect_of(view, plan.plan_person(view, new), plan.plan_person(view, old))
    assert found is not None
    assert found.crm["cf_person_sequence_state"] == ("Active – Paused", "On Hold")
    assert set(found.crm) == {"cf_person_sequence_state", "cf_person_sequences"}
    assert effect_of(view, plan.plan_person(view, old), plan.plan_person(view, old)) is None
    alone = effect_of(view, plan.plan_person(view, old))
    assert alone is not None
    assert alone.crm["person_job_title"] == ("Clerk", "Boss")
