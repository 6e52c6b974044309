"""What holds, ends or goes before everything else: opt-outs, deletions, stopped fields, brakes, parts of a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.makers import at, link, mapping, person, prospect, sequence, state
from tests.core.pairs import AGREED, RUNNING, SHOWN, crm_edit, edit, made, pair, unlinked
from worker.core import plan, shadows
from worker.core.mapping import Brakes, Share
from worker.core.plan import Action, PersonView
from worker.core.records import Snapshot, Value
from worker.core.transforms import ABSENT

ASK_DELETED = ("on_crm_delete: recreate", "on_crm_delete: ask")
UNLINK_DELETED = ("on_crm_delete: recreate", "on_crm_delete: unlink")
ASK_GONE = ("on_outreach_delete: unlink", "on_outreach_delete: ask")

# ---- opted out


OUT: dict[str, Value] = {"no_email_soliciting": True}


@pytest.mark.parametrize(
    "fields",
    [
        {"optedOut": True},
        {"emailOptedOut": True},
        {"emailsOptStatus": "opted_out"},
        {"optedOut": True, "emailOptedOut": True},
    ],
)
def test_opted_out_in_outreach(fields: dict[str, Value]) -> None:
    """Each of the three ways to be opted out in Outreach sets No Email in the CRM, and needs nothing in Outreach."""
    told = made(pair(prospect=edit(prospect(), **fields)))
    assert (told.crm["no_email_soliciting"], told.outreach) == (True, {})
    assert told.crm["cf_person_sequence_state"] == "Opted Out"
    assert told.crm["cf_person_sequences"] == "Cold outreach: Opted Out (step 3)"
    assert not {"cf_person_sequence_name", "cf_person_sequence_step"} & set(told.crm)  # the latest one's: as they were


@pytest.mark.parametrize(
    "fields",
    [{"emailsOptStatus": "opted_in"}, {"optedOut": None}, {"callOptedOut": True}, {"optedOutAt": "2026-03-02"}],
)
def test_what_is_no_opt_out(fields: dict[str, Value]) -> None:
    """Neither consent, nor another channel, nor a time alone opts anybody out of e-mail."""
    assert not made(pair(prospect=edit(prospect(), **fields))).opt_out


def test_no_email_in_the_crm_goes_to_outreach() -> None:
    """No Email set by a CRM user: e-mail only in Outreach, and the person reads Opted Out."""
    told = made(crm_edit(OUT))
    assert told.outreach == {"emailOptedOut": True}
    assert told.crm == {
        "cf_person_sequence_state": "Opted Out",
        "cf_person_sequences": "Cold outreach: Opted Out (step 3)",
    }


def test_a_literal_opted_out_state_opts_out_everywhere() -> None:
    """One state that says opted_out is enough for both sides."""
    told = made(pair(states=(RUNNING, state("opted_out", id=2, of=sequence(2, "Old"), changed=at(1)))))
    assert (told.crm["no_email_soliciting"], told.outreach) == (True, {"emailOptedOut": True})


def test_a_latched_person_is_opted_out_on_both_sides() -> None:
    """What is remembered holds though both sides take it back."""
    told = made(pair(latched=True))
    assert (told.crm["no_email_soliciting"], told.outreach) == (True, {"emailOptedOut": True})
    assert told.opt_out.evidence == "remembered"


def test_an_opt_out_taken_back_on_one_side_is_set_again() -> None:
    """One side still says it: so does the other, after the next pass."""
    assert made(pair(prospect=prospect(optedOut=True))).crm["no_email_soliciting"] is True
    assert made(crm_edit(OUT)).outreach["emailOptedOut"] is True


@pytest.mark.parametrize(
    "opted_out_at, opted_at, shown",
    [
        ("2026-03-02T07:00:00Z", "2026-03-02T06:00:00Z", "Mon Mar 02 07:00:00 UTC 2026"),
        (None, "2026-03-02T06:00:00Z", "Mon Mar 02 06:00:00 UTC 2026"),
        ("soon", "2026-03-02T06:00:00Z", "Mon Mar 02 06:00:00 UTC 2026"),
        (None, None, "Mon Mar 02 10:00:00 UTC 2026"),  # the latest state's
    ],
)
def test_when_somebody_opted_out(opted_out_at: str | None, opted_at: str | None, shown: str) -> None:
    """optedOutAt, else emailsOptedAt, else the time of the latest state."""
    states = (RUNNING, state("finished", id=2, of=sequence(2, "Warm"), changed=at(10), step=8))
    told = made(pair(prospect=prospect(optedOut=True, optedOutAt=opted_out_at, emailsOptedAt=opted_at), states=states))
    assert told.crm["cf_person_sequence_state_updated_at"] == shown
    assert (told.crm["cf_person_sequence_name"], told.crm["cf_person_sequence_step"]) == ("Warm", 8)


def test_opted_out_and_nothing_tells_when() -> None:
    """Opted out in no sequence and without a time: the moment is blank, and so are name and step."""
    told = made(pair(prospect=prospect(optedOut=True), states=()))
    assert told.crm == {
        "no_email_soliciting": True,
        "cf_person_sequence_state": "Opted Out",
        "cf_person_sequence_state_updated_at": None,
        "cf_person_sequence_name": None,
        "cf_person_sequence_step": None,
        "cf_person_sequences": "",
    }


def test_a_transactional_sequence_goes_on() -> None:
    """The person is opted out whatever runs; the line of a transactional sequence says what it does."""
    told = made(
        pair(
            prospect=prospect(emailOptedOut=True),
            states=(replace(RUNNING, sequence=sequence(1, "Receipts", transactional=True)),),
        )
    )
    assert told.crm["cf_person_sequence_state"] == "Opted Out"
    assert told.crm["cf_person_sequences"] == "Receipts: Active \u2013 Running (step 3)"


# ---- deleted in the CRM


def tombstone(fields: dict[str, Value] | None = None) -> Snapshot:
    """Return the pair's person, deleted."""
    return person({**SHOWN, **(fields or {})}, version=9, deleted=True)


def test_a_deleted_person_is_created_again_with_all_fields() -> None:
    """By default the deleted person comes back in one request: all values, the reference and the flag."""
    told = made(pair(person=tombstone()))
    assert (told.action, told.outreach) == (Action.RECREATE, {})
    assert told.crm == {**SHOWN, "no_email_soliciting": False}


def test_a_deleted_person_comes_back_opted_out() -> None:
    """The opt-out of the deleted one is in the very request, and is set in Outreach."""
    told = made(pair(person=tombstone(OUT)))
    assert (told.crm["no_email_soliciting"], told.outreach) == (True, {"emailOptedOut": True})


@pytest.mark.parametrize("fields", [dict.fromkeys(SHOWN), {}], ids=["nulls", "nothing"])
def test_a_tombstone_empties_nothing(fields: dict[str, Value]) -> None:
    """A deleted row that reads back without its values clears nothing in Outreach, and comes back with Outreach's."""
    bare = replace(tombstone(), fields=fields)
    told = made(pair(person=bare))
    assert (told.action, told.outreach, told.overwritten) == (Action.RECREATE, {}, 0)
    assert told.crm == {**SHOWN, "no_email_soliciting": False}


def test_an_edit_made_just_before_the_deletion_travels() -> None:
    """What a tombstone does show counts as ever."""
    told = made(pair(person=tombstone({"person_job_title": "Director"})))
    assert (told.crm["person_job_title"], told.outreach) == ("Director", {"title": "Director"})


def test_a_deleted_person_is_left_deleted_if_the_mapping_says_so() -> None:
    """With `unlink` nothing is written to the CRM; an opt-out still reaches Outreach."""
    told = made(pair(person=tombstone(OUT)), UNLINK_DELETED)
    assert (told.action, told.crm, told.outreach) == (Action.UNLINK, {}, {"emailOptedOut": True})


def test_somebody_is_asked_about_a_deleted_person_if_the_mapping_says_so() -> None:
    """With `ask` the record is held with the question; an opt-out still reaches Outreach."""
    told = made(pair(person=tombstone({**OUT, "person_job_title": "X"})), ASK_DELETED)
    assert (told.action, told.crm, told.outreach) == (Action.HOLD, {}, {"emailOptedOut": True})
    assert told.why == "deleted in the CRM: recreate or unlink?"


def test_a_stopped_field_is_not_created_again() -> None:
    """Neither what the deleted person held nor the flag or the reference is written where the CRM lacks the field."""
    stopped = frozenset({"person_job_title", "cf_person_outreach_id", "no_email_soliciting"})
    told = made(pair(person=tombstone(), stopped=stopped))
    assert set(told.crm) == set(SHOWN) - stopped


def test_a_person_takes_over_and_the_opt_outs_are_united() -> None:
    """A living person takes the link over from a deleted one that was opted out: both sides are opted out."""
    merged_into = person({**AGREED, "main_location[email]": "ada@example.com"}, id=56)
    told = made(unlinked(person=merged_into, former=person({**SHOWN, **OUT}, deleted=True)))
    assert (told.action, told.crm["no_email_soliciting"], told.outreach) == (
        Action.UPDATE,
        True,
        {"emailOptedOut": True},
    )
    assert told.crm["cf_person_outreach_id"] == "7"
    assert told.opt_out.evidence == "no_email_soliciting in the CRM"


def test_a_linked_person_that_cannot_be_read_is_held() -> None:
    """Neither visible nor deleted: nobody is created, the record is held, the opt-out still reaches Outreach."""
    told = made(pair(person=None, latched=True))
    assert (told.action, told.crm, told.outreach) == (Action.HOLD, {}, {"emailOptedOut": True})
    assert told.why == "person 55 is neither visible nor deleted in the CRM"


# ---- deleted in Outreach


def test_a_deleted_prospect_leaves_the_person() -> None:
    """The person stays with everything it holds, and reads Not Active."""
    told = made(pair(prospect=None, states=()))
    assert (told.action, told.outreach) == (Action.UPDATE, {})
    assert told.crm == {
        "cf_person_sequence_state": "Not Active",
        "cf_person_sequence_state_updated_at": None,
        "cf_person_sequence_name": None,
        "cf_person_sequence_step": None,
        "cf_person_sequences": "",
    }


def test_a_deleted_prospects_opt_out_stays() -> None:
    """An opted-out person whose prospect was deleted stays opted out."""
    told = made(pair(prospect=None, states=(), latched=True))
    assert (told.crm["no_email_soliciting"], told.crm["cf_person_sequence_state"]) == (True, "Opted Out")


def test_somebody_is_asked_about_a_deleted_prospect_if_the_mapping_says_so() -> None:
    """With `ask` the record waits, which the CRM shows, and once it does there is nothing to write."""
    words = {"cf_person_outreach_error": "the prospect was deleted in Outreach: somebody has to decide"}
    told = made(pair(prospect=None, states=()), ASK_GONE)
    assert (told.action, told.crm, told.waits) == (Action.UPDATE, words, True)
    shown = pair(prospect=None, states=(), person=person({**SHOWN, **words}), link=link(words, words))
    assert (made(shown, ASK_GONE).action, made(shown, ASK_GONE).waits) == (Action.HOLD, True)


def test_an_opt_out_does_not_wait_for_what_is_asked() -> None:
    """While somebody is to decide about a deleted prospect, No Email is set and nothing else of the person."""
    told = made(pair(prospect=None, states=(), latched=True), ASK_GONE)
    assert (told.action, set(told.crm)) == (Action.UPDATE, {"no_email_soliciting", "cf_person_outreach_error"})
    assert told.crm["no_email_soliciting"] is True
    hidden = made(pair(prospect=None, states=(), person=None, latched=True), ASK_GONE)
    assert (hidden.action, hidden.crm, hidden.waits) == (Action.HOLD, {}, True)


def test_deleted_on_both_sides() -> None:
    """Deleted on both sides: the link ends, whatever the policy, and nothing is written."""
    for edits in ([], [UNLINK_DELETED], [ASK_DELETED], [ASK_GONE]):
        told = made(pair(prospect=None, states=(), person=tombstone()), *edits)
        assert (told.action, told.crm, told.outreach) == (Action.UNLINK, {}, {})


def test_a_prospect_that_neither_side_has_any_more() -> None:
    """A prospect that is gone and was never linked is nothing to do."""
    told = made(PersonView(7, None))
    assert (told.action, told.crm, told.outreach, told.fault) == (Action.NOTHING, {}, {}, None)


def test_an_unlinked_pair_stays_so() -> None:
    """A link that is gone brings nobody back, however often the prospect changes; an opt-out still reaches Outreach."""
    gone = link(SHOWN, SHOWN, gone=True)
    told = made(unlinked(link=gone, prospect=prospect(title="Director")))
    assert (told.action, told.crm, told.outreach, told.why) == (Action.NOTHING, {}, {}, "unlinked: it stays so")
    told = made(unlinked(link=gone, latched=True))
    assert (told.action, told.crm, told.outreach) == (Action.NOTHING, {}, {"emailOptedOut": True})


# ---- a state that is not mapped


def test_an_unmapped_state_keeps_the_five_fields_and_fails() -> None:
    """The five stay as they are, everything else is written, the reason is shown, and the record fails with it."""
    told = made(pair(states=(state("replied"),), prospect=prospect(title="Director")))
    assert told.fault == "unmapped state 'replied'"
    assert told.crm == {"person_job_title": "Director", "cf_person_outreach_error": "unmapped state 'replied'"}


def test_an_unmapped_state_hides_no_opt_out() -> None:
    """An opted-out person reads Opted Out whatever the states say."""
    told = made(pair(states=(state("replied"),), prospect=prospect(emailOptedOut=True)))
    assert (told.crm["cf_person_sequence_state"], told.crm["no_email_soliciting"], told.fault) == (
        "Opted Out",
        True,
        None,
    )


def test_the_reason_is_blanked_when_it_is_well() -> None:
    """Once the state is mapped again, the reason goes."""
    told = made(crm_edit({"cf_person_outreach_error": "unmapped state 'replied'"}))
    assert told.crm == {"cf_person_outreach_error": None}


def test_a_person_is_created_though_a_state_is_unmapped() -> None:
    """An unmapped state leaves only the five fields out of a create."""
    told = made(unlinked(states=(state("replied"),)))
    assert (told.action, told.fault) == (Action.CREATE, "unmapped state 'replied'")
    assert told.crm == {**AGREED, "cf_person_outreach_id": "7", "cf_person_outreach_error": "unmapped state 'replied'"}


# ---- stopped fields


def test_a_stopped_field_waits_and_follows() -> None:
    """What the CRM lacks is not written, nobody fails for it, and it is written once it is no longer stopped."""
    view = pair(states=(state("paused", changed=at(9), step=3),), stopped=frozenset({"cf_person_sequence_state"}))
    told = made(view)
    assert (set(told.crm), told.fault) == ({"cf_person_sequences"}, None)
    shadow = shadows.agreed(view, mapping(), told, crm={**SHOWN, **told.crm}, outreach=prospect().fields)
    mended = pair(
        states=view.states,
        person=person({**SHOWN, **told.crm}, version=4),
        link=replace(link(), shadow=shadow, written_version=4),
    )
    assert made(mended).crm == {"cf_person_sequence_state": "Active \u2013 Paused"}


def test_a_decision_is_told_for_every_line() -> None:
    """The explanation has each line of the mapping, in its order, with what was decided and why."""
    told = made(pair(prospect=prospect(title="Director"), stopped=frozenset({"person_first_name"})))
    by_field = {decision.field: decision for decision in told.decisions}
    assert list(by_field) == [line.crm for line in mapping().fields]
    assert by_field["person_first_name"].why == "stopped: the CRM lacks this field or one of its labels"
    assert (by_field["person_job_title"].why, by_field["person_job_title"].to_crm) == (
        "changed in Outreach",
        "Director",
    )
    assert by_field["person_last_name"].to_crm is ABSENT


# ---- brakes


@pytest.mark.parametrize(
    "deleted, linked, held",
    [
        (0, 0, False),
        (20, 20, False),  # never up to twenty
        (20, 100, False),
        (21, 21, True),
        (21, 1049, True),  # more than 2 % of 1,049
        (21, 1050, False),  # 2 % exactly
        (22, 1050, True),
        (200, 10_000, False),
        (201, 10_000, True),
    ],
)
def test_when_the_brake_on_deletions_trips(deleted: int, linked: int, held: bool) -> None:
    """More than 2 % of the linked people, and more than 20: both."""
    assert plan.too_many_deleted(deleted, linked, mapping().brakes.deleted_people) is held
    assert plan.too_many_deleted(deleted, linked, Share(2.0, 20)) is held
    assert not plan.too_many_deleted(deleted, linked, None)


def test_the_default_brakes() -> None:
    """The limits are the contract's."""
    assert mapping().brakes == Brakes(Share(2.0, 20), Share(2.0, 20), 500, 500)


# ---- parts of a plan


def test_what_may_not_be_written_just_now_is_left_out() -> None:
    """`limited` leaves out one side or both, and touches nothing else."""
    whole = replace(made(crm_edit({"person_job_title": "X"})), action=Action.UPDATE, crm={"person_last_name": "Y"})
    assert plan.limited(whole, to_crm=True, to_outreach=True) == whole
    kept = plan.limited(whole, to_crm=False, to_outreach=True)
    assert (kept.action, kept.crm, kept.outreach) == (Action.NOTHING, {}, {"title": "X"})
    kept = plan.limited(whole, to_crm=True, to_outreach=False)
    assert (kept.action, kept.crm, kept.outreach) == (Action.UPDATE, {"person_last_name": "Y"}, {})
    kept = plan.limited(made(unlinked()), to_crm=False, to_outreach=False)
    assert (kept.action, kept.crm, kept.outreach, kept.writes_crm) == (Action.NOTHING, {}, {}, False)
    excluded = made(unlinked(states=()))
    assert plan.limited(excluded, to_crm=False, to_outreach=False).action is Action.EXCLUDE


def test_what_is_held_keeps_its_opt_out() -> None:
    """A record that waits for a person writes nothing but the opt-out."""
    out = replace(crm_edit({"person_job_title": "X", "no_email_soliciting": True}), states=())
    whole = made(out)
    assert whole.outreach == {"title": "X", "emailOptedOut": True}
    held = plan.held(whole)
    assert (held.action, held.crm, held.outreach, held.fault) == (Action.HOLD, {}, {"emailOptedOut": True}, None)
    assert not held.writes_crm


def test_before_everything_is_read_only_an_opt_out_is_written() -> None:
    """`only_opt_out` leaves the opt-out on both sides, and nothing of a create."""
    view = pair(prospect=prospect(optedOut=True, title="Director"), states=(replace(RUNNING, sequence=sequence(2)),))
    told = plan.only_opt_out(made(view), mapping())
    assert (told.action, told.crm, told.outreach) == (Action.UPDATE, {"no_email_soliciting": True}, {})
    told = plan.only_opt_out(made(crm_edit({"no_email_soliciting": True, "person_job_title": "X"})), mapping())
    assert (told.action, told.crm, told.outreach) == (Action.NOTHING, {}, {"emailOptedOut": True})
    told = plan.only_opt_out(made(unlinked(prospect=prospect(optedOut=True))), mapping())
    assert (told.action, told.crm, told.outreach) == (Action.NOTHING, {}, {})
    assert plan.only_opt_out(made(pair(prospect=prospect(title="X"))), mapping()).action is Action.NOTHING


def test_whether_an_opt_out_is_among_what_is_written() -> None:
    """`has_opt_out` tells it of either side, and of nothing that is not written."""
    assert plan.has_opt_out(made(pair(prospect=prospect(optedOut=True))), mapping())
    assert plan.has_opt_out(made(crm_edit({"no_email_soliciting": True})), mapping())
    assert not plan.has_opt_out(made(pair(prospect=prospect(title="X"))), mapping())
    on_both = pair(prospect=prospect(optedOut=True), person=person({**SHOWN, "no_email_soliciting": True}))
    assert not plan.has_opt_out(made(on_both), mapping())
