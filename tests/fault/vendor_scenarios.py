"""What the vendors do to us (facts, delivery D.3: F29 to F36), and what people do on both sides (F38 to F49).

What one process tells whole, by a test that knows nothing of chance, is not told again, weaker, by many: ``TOLD_ELSEWHERE``.
"""

from __future__ import annotations

import time
from typing import Any

from tests.fault import people_scenarios
from tests.fault.edits import STATES
from tests.fault.rig import Unsettled
from tests.fault.scene import Scenario, Scene

TOLD_ELSEWHERE: dict[str, str] = {
    "F31 equal times over page edges": "tests/e2e/test_priming.py::test_many_changes_in_one_second_over_page_edges",
    "F31 a next link to another host": "tests/edge/test_bad_answers.py::test_a_next_link_to_another_host_stops_everything",
    "F32 ids as texts, nulls": "tests/edge/test_other_spellings.py::test_outreach_in_other_words",
    "F32 rows that leave fields out": "tests/edge/test_crm_lacks.py::test_rows_that_leave_blanks_out_lack_nothing",
    "F35 dead before the pair is stored": "tests/fault/test_crash.py::test_a_process_may_die_at_any_point",
    "F35 single-use tokens": "tests/edge/test_bad_answers.py::test_a_revoked_refresh_token_is_5_until_a_new_seed",
    "F36 the secret key rotated": "tests/e2e/test_settings.py::test_a_secret_key_that_does_not_open_the_store_is_4",
    "F46 opted in by the command": "tests/e2e/test_decisions.py::test_opt_in_lifts_both_sides",
}
"""What of a scenario is told by another test, and by which."""

API, TOKEN = "/api/v2/", "/oauth/token"
EXPIRED_S = 7_300
"""A little longer than an access token lives."""
PROCESSES = 16
QUIET_S, LAG_S = 120.0, 30.0
RENEWING = {
    "OUTBOOK_OUTREACH__ACCESS_TOKEN": "",
    "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
    "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
    "OUTBOOK_OUTREACH__REDIRECT_URI": "https://localhost/back",
    "OUTBOOK_OUTREACH__REFRESH_TOKEN": "sim-refresh",
}
"""A deployment that renews its own token."""
EMPTY: dict[str, Any] = {"data": [], "meta": {"count": 0, "count_truncated": False}, "links": {}}
NOBODY: dict[str, Any] = {"success": True, "total": 0, "data": []}


def fault(kind: str, path: str = "", op: str = "", *, times: int | None = None, **args: object) -> dict[str, Any]:
    """Return one fault for a simulator."""
    match = {name: told for name, told in (("path", path), ("op", op)) if told}
    return {"match": match, "kind": kind, "times": times, "args": args}


def option(scene: Scene, vendor: str, name: str, value: object) -> None:
    """Let a vendor be otherwise from now on."""
    scene.rig.edit(vendor, [{"op": "option", "name": name, "value": value}])


# ---- F29 to F32: lists, batches, pages, schema


def lists_lag(scene: Scene) -> None:
    """The CRM's lists do not know what was written for half a minute, and some creates are never confirmed."""
    option(scene, "workbooks", "search_lag", LAG_S)
    scene.rig.fault(fault("lost_reply", "people", "write", times=2), vendors=("workbooks",))
    time.sleep(3)


def lists_know_again(scene: Scene) -> str:
    """Leave nothing behind; what was written last has to show before both sides are compared."""
    option(scene, "workbooks", "search_lag", 0.0)
    time.sleep(LAG_S)
    return ""


def half_refused(scene: Scene) -> None:
    """Of a batch the CRM refuses the third record, of another every second; the others are saved.

    Who is refused alone, too, is a dead letter: in the end the CRM takes all again, and somebody has them tried anew.
    """
    some = fault("partial_outcome", op="write", times=3, indices=[2])
    scene.rig.fault(some, fault("half", op="write", times=2), vendors=("workbooks",))
    time.sleep(2)
    if scene.last:
        scene.rig.control("workbooks", "faults", [])
        scene.rig.wait_for(lambda: scene.rig.is_quiet(but_failed=True), QUIET_S)
        scene.rig.must("failures", "retry", "--all")


def pages_lie(scene: Scene) -> None:
    """Pages come twice, are empty in the middle, lead in circles, leave out, expire; in the end both lists are empty."""
    outreach = [
        [fault("duplicate_page", API, "read", times=4), fault("empty_middle_page", API, "read", times=4)],
        [fault("duplicate_page", API, "read")],
        [fault("drop_record", API, "read", times=6), fault("expired_cursor", API, "read", times=2)],
        [fault("status", API, "read", code=200, body=EMPTY)],
    ][scene.wave % 4]
    crm = [fault("status", "/crm/people", "read", code=200, body=NOBODY)] if scene.last else []
    scene.rig.fault(*outreach, vendors=("outreach",))
    scene.rig.fault(*crm, vendors=("workbooks",))
    moved = list(scene.plan.old)[:: max(1, len(scene.plan.old) // 10)]
    for _ in range(4):  # records move to the end of the list while it is read
        touched = [{"op": "set", "type": "prospect", "id": one, "attributes": {}} for one in moved]
        scene.rig.edit("outreach", touched)
        time.sleep(1)


def nobody_was_taken_for_deleted(scene: Scene) -> str:
    """No person was deleted or unlinked, none made a second time, and no label read Not Active in between."""
    labels = [
        change
        for entry in scene.rig.control("workbooks", f"journal?since={scene.since['workbooks']}")["entries"]
        for effect in entry["effect"]
        if (change := effect.get("changes", {}).get("cf_person_sequence_state"))
    ]
    wrong = [change for change in labels if change[1] == "Not Active"]
    return f"{len(wrong)} shown as Not Active" if wrong else ""


UNKNOWN, FIELD = "levitating", "cf_person_sequence_name"


def schema_drifts(scene: Scene) -> None:
    """Outreach has a new word for a state, the CRM loses a field; both come right in the last wave."""
    quiet = people_scenarios.steady(scene.plan)
    if scene.wave == 0:
        told = [_worded(one, UNKNOWN) for one in quiet]
        scene.rig.edit("outreach", told)
        scene.rig.edit("workbooks", [{"op": "remove_field", "field": FIELD}])
    elif scene.last:
        scene.rig.edit("workbooks", [{"op": "add_field", "field": FIELD}])
        scene.rig.edit("outreach", [_worded(one, "active") for one in quiet])
        scene.rig.outbook("sync", "--json", within_s=180)  # looks at the CRM's fields at once, not within the hour
    time.sleep(2)


def _worded(prospect: int, word: str) -> dict[str, Any]:
    about = {"op": "set", "type": "sequenceState", "id": STATES + prospect}
    return {**about, "attributes": {"state": word}}


# ---- F33 to F36: tokens


def mints(scene: Scene) -> int:
    """Return how often a token was asked for since the scenario began."""
    entries = scene.rig.control("outreach", f"journal?since={scene.since['outreach']}&path={TOKEN}")["entries"]
    return len(entries)


def expire(scene: Scene) -> None:
    """Let hours pass at Outreach: the access token is none any more."""
    scene.rig.control("outreach", "clock", {"shift": EXPIRED_S})


def token_expires(scene: Scene) -> None:
    """The access token ends while pages are read and writes are made."""
    time.sleep(scene.chance.uniform(0.2, 1.5))
    expire(scene)
    time.sleep(4)


def one_mint_each(scene: Scene) -> str:
    """A token that had ended was renewed once, whoever noticed; on a busy machine one may end again before anybody asks."""
    made, ended = mints(scene), len(scene.plan.waves)
    return "" if 1 < made <= ended else f"{made} tokens were minted for {ended} that had ended"


def sixteen_see_it(scene: Scene) -> None:
    """Sixteen processes begin, the token has ended, and the one who mints another takes five seconds."""
    if scene.wave:
        return
    scene.rig.fault(fault("delay", TOKEN, seconds=5, after=True), vendors=("outreach",))
    expire(scene)
    names = [f"sync{number}" for number in range(1, PROCESSES + 1)]
    scene.rig.start(*names)
    for name in names:
        scene.rig.processes[name].popen.wait(240)
    scene.notes["mints"] = mints(scene)


def one_mint(scene: Scene) -> str:
    """All sixteen and the workers shared one renewal."""
    made = scene.notes.get("mints")
    return "" if made == 1 else f"{made} tokens were minted, by {PROCESSES} processes that needed one"


def mint_lost(scene: Scene) -> None:
    """The token is renewed and nobody hears the answer; the workers are killed in the middle of another renewal."""
    if scene.wave % 2 == 0:
        scene.rig.fault(fault("lost_reply", TOKEN, times=1), vendors=("outreach",))
        expire(scene)
        time.sleep(5)
        return
    scene.rig.fault(fault("delay", TOKEN, times=1, seconds=2, after=True), vendors=("outreach",))
    expire(scene)
    time.sleep(1.5)
    scene.rig.kill("worker", "optout")
    scene.rig.start("worker", "optout")
    time.sleep(3)


def few_mints(scene: Scene) -> str:
    """What was lost is asked for again, and never in a silent loop."""
    made, ended = mints(scene), len(scene.plan.waves)
    return "" if ended <= made <= 3 * ended else f"{made} tokens were minted for {ended} that had ended"


def scope_lost(scene: Scene) -> None:
    """One stream is forbidden, then the CRM's key is taken away; meanwhile the rest flows, and both are told."""
    if scene.wave == 0:
        words = {"errors": [{"id": "unauthorizedOauthScope", "status": 403, "title": "Unauthorized OAuth Scope"}]}
        scene.rig.fault(fault("status", f"{API}tasks", "read", code=403, body=words), vendors=("outreach",))
        _flows(scene)
        _told(scene, "tasks")
    elif scene.wave == 1:
        scene.rig.edit("workbooks", [{"op": "remove_key", "key": "sim-key"}])
        time.sleep(6)
        _told(scene, "key")
        scene.rig.edit("workbooks", [{"op": "add_key", "key": "sim-key"}])
    else:
        scene.rig.fault()
    time.sleep(2)


def _flows(scene: Scene) -> None:
    """Wait until an edit of this very moment is in the CRM."""
    (who, *_) = people_scenarios.steady(scene.plan)
    told = {"op": "set", "type": "prospect", "id": who, "attributes": {"firstName": "Flowing"}}
    scene.rig.edit("outreach", [told])

    def is_there() -> bool:
        return any(
            one.get("person_first_name") == "Flowing" and one["id"] == scene.people[who]
            for one in scene.rig.seen().people
        )

    scene.rig.wait_for(is_there, 60)


def _told(scene: Scene, word: str) -> None:
    """Fail unless `status` says what is wrong."""
    for _ in range(15):
        _code, told = scene.rig.outbook("status", "--json")
        if word in told.lower() and ("halt" in told or "trouble" in told or "refus" in told):
            return
        time.sleep(1)
    raise Unsettled(f"status says nothing of {word}")


SCENARIOS = [
    Scenario("F29", "the CRM's lists lag by 30 s, replies lost", lists_lag, check=lists_know_again, settle_s=180.0),
    Scenario("F30", "one or half of a batch refused", half_refused),
    Scenario(
        "F31",
        "pages that lie, lists that are suddenly empty",
        pages_lie,
        check=nobody_was_taken_for_deleted,
        short_of="page edges and links to another host, which tests of their own tell",
    ),
    Scenario(
        "F32",
        "a word nobody knows, a field that vanishes",
        schema_drifts,
        draw=people_scenarios.drawn,
        alone=True,
        short_of="nulls and ids as texts, which tests of their own tell",
    ),
    Scenario("F33", "the token ends mid-page, again and again", token_expires, check=one_mint_each, environ=RENEWING),
    Scenario("F34", "16 processes see the token end at once", sixteen_see_it, check=one_mint, environ=RENEWING),
    Scenario(
        "F35",
        "the answer to a renewal lost, the renewer killed",
        mint_lost,
        check=few_mints,
        environ=RENEWING,
        short_of="tokens for one use, which a test of its own tells",
    ),
    Scenario(
        "F36",
        "a scope and a key taken away and given back",
        scope_lost,
        draw=people_scenarios.drawn,
        alone=True,
        short_of="a rotated secret key, which a test of its own tells",
    ),
    *people_scenarios.SCENARIOS,
]
