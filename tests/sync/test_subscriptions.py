"""Subscriptions: made once, renewed when switched off, ended when ours, missed when silent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sync.scene import Scene, fault
from worker.core import errors
from worker.core.records import Kind
from worker.remote.outreach_webhooks import EVERYTHING, VERSION, Subscription
from worker.store import webhooks
from worker.store.webhooks import Arrival
from worker.sync import subscriptions
from worker.sync.subscriptions import Done, Secret

HERE, ELSEWHERE = "https://outbook.example/webhooks/outreach", "https://another.example/webhooks/outreach"
FIRST, SECOND = (Secret.of(text, "a key") for text in ("first secret", "second secret"))
ALL = ["emailAddress", "prospect", "sequence", "sequenceState", "task"]
HOUR = 3600.0


def setup(scene: Scene, url: str = HERE, secret: Secret = FIRST) -> Done:
    """Subscribe."""
    return subscriptions.setup(scene.store, scene.remotes().outreach, url, secret, scene.now())


def watch(scene: Scene, secret: Secret = FIRST) -> Done | None:
    """Look after the subscriptions as the hourly task does."""
    return subscriptions.watch(scene.store, scene.remotes().outreach, secret, scene.now())


def there(scene: Scene) -> list[dict[str, Any]]:
    """Return the attributes of every subscription in Outreach."""
    return [one["attributes"] for one in scene.outreach.world.dump().get("webhook", {}).values()]


def of(scene: Scene, resource: str, **attributes: object) -> None:
    """Let Outreach change a subscription by itself."""
    (id_,) = [
        one["id"]
        for one in scene.outreach.world.dump()["webhook"].values()
        if one["attributes"]["resource"] == resource and one["attributes"]["url"] == HERE
    ]
    scene.edit_outreach(op="set", type="webhook", id=id_, attributes=attributes)


def test_everything_needed_is_subscribed_once(scene: Scene) -> None:
    """Five kinds, every action, our secret, payload version 2; a second time there is nothing to do and nothing is written."""
    assert setup(scene) == Done(created=ALL)
    told = {(one["resource"], one["action"], one["url"], one["payloadVersion"], one["active"]) for one in there(scene)}
    assert told == {(name, "*", HERE, 2, True) for name in ALL}
    assert {one["secret"] for one in there(scene)} == {"first secret"}
    scene.wire.calls.clear()
    assert setup(scene) == Done()
    assert [call.method for call in scene.wire.calls] == ["GET"]


def test_what_outreach_switched_off_is_renewed(scene: Scene) -> None:
    """Whatever it says of the reason; a subscription that somebody deleted is made again; the others are left alone."""
    setup(scene)
    of(scene, "prospect", disabledReason="too many failures", disabledSince="2026-11-19T09:00:00.000Z")
    of(scene, "sequence", active=False)
    scene.edit_outreach(op="delete", type="webhook", id=max(scene.outreach.world.dump()["webhook"], key=int))
    assert setup(scene) == Done(created=["task"], renewed=["prospect", "sequence"])
    prospects = next(one for one in there(scene) if one["resource"] == "prospect")
    assert (prospects["active"], prospects.get("disabledReason")) == (True, None)
    assert sorted(one["resource"] for one in there(scene)) == ALL


def test_a_new_secret_reaches_every_subscription(scene: Scene) -> None:
    """While rotating, the first of the secrets is the one that Outreach is to sign with."""
    setup(scene)
    assert setup(scene, secret=SECOND) == Done(renewed=ALL)
    assert {one["secret"] for one in there(scene)} == {"second secret"}
    assert setup(scene, secret=SECOND) == Done()


def test_another_address_takes_over_from_the_last_one(scene: Scene) -> None:
    """What was delivered to our former address is ended once the new one stands; what is somebody else's stays."""
    others = {"url": ELSEWHERE, "resource": "prospect", "action": "*", "active": True}
    scene.edit_outreach(op="create", type="webhook", id=900, attributes=others)
    setup(scene)
    moved = HERE.replace("outbook", "outbook2")
    assert setup(scene, moved) == Done(created=ALL, ended=ALL)
    assert sorted((one["url"], one["resource"]) for one in there(scene)) == sorted(
        [(ELSEWHERE, "prospect"), *((moved, name) for name in ALL)]
    )


def test_remove_ends_ours_alone(scene: Scene) -> None:
    """Those to our address, and those to a further address that is named; nothing is watched any more."""
    others = {"url": ELSEWHERE, "resource": "prospect", "action": "*", "active": True}
    scene.edit_outreach(op="create", type="webhook", id=900, attributes=others)
    setup(scene)
    gone = subscriptions.remove(scene.store, scene.remotes().outreach)
    assert [one.resource for one in gone] == ALL
    assert [one["url"] for one in there(scene)] == [ELSEWHERE]
    scene.later(48 * HOUR)
    assert watch(scene) is None
    assert len(subscriptions.remove(scene.store, scene.remotes().outreach, ELSEWHERE)) == 1
    assert there(scene) == []


def test_they_are_looked_after_once_a_day(scene: Scene) -> None:
    """Not before it is time, and not at all before they were set up; what was dropped is made again (scenario F48)."""
    assert watch(scene) is None
    setup(scene)
    for one in list(scene.outreach.world.dump()["webhook"]):
        scene.edit_outreach(op="delete", type="webhook", id=int(one))
    scene.later(19 * HOUR)
    assert watch(scene) is None
    scene.later(2 * HOUR)
    assert watch(scene) == Done(created=ALL)
    assert watch(scene) is None


def test_one_that_is_refused_does_not_keep_the_others(scene: Scene) -> None:
    """Its refusal is told in Outreach's words, without the secret; the next call tries it again."""
    body = {"errors": [{"id": "validationError", "detail": "secret first secret is not wanted here"}]}
    scene.outreach.faults.arm([fault("status", path="webhooks", op="write", code=422, body=body)])
    done = setup(scene)
    assert (done.created, list(done.refused)) == (ALL[1:], ["emailAddress"])
    assert "first secret" not in done.refused["emailAddress"]
    assert setup(scene).created == ["emailAddress"]


def test_without_the_permission_it_is_said_so(scene: Scene) -> None:
    """A token that may not see webhooks needs another scope: that is for a person to mend."""
    scene.outreach.faults.arm([fault("status", path="webhooks", code=403)])
    with pytest.raises(errors.AuthRevoked, match="forbids"):
        setup(scene)


def test_silence_is_noticed_when_polls_find_what_webhooks_should_have_told(on_both: Scene) -> None:
    """A quiet night is no silence; a change found by a poll an hour after the last webhook is, and the watch comes early."""
    scene = on_both
    scene.prospect(1, 1)
    scene.poll()
    setup(scene)
    scene.later(HOUR)
    scene.poll(Kind.PROSPECT)
    assert subscriptions.silence(scene.store, scene.now()) is None
    with scene.store.write() as db:
        webhooks.keep(db, [Arrival("a", b"{}", scene.now())])
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Chief"}, touch=True)
    scene.later(40)
    scene.poll(Kind.PROSPECT)
    assert subscriptions.silence(scene.store, scene.now()) is None
    scene.later(HOUR)
    told = subscriptions.silence(scene.store, scene.now()) or ""
    assert told.startswith("no webhook has come since 2026-11-20T10:00:00Z, though polls found changes")
    of(scene, "prospect", disabledReason="gave up", disabledSince="2026-11-20T10:00:00.000Z")
    standing = subscriptions.standing(scene.store, scene.remotes().outreach, scene.now())
    assert [words.partition(";")[0] for words in standing.troubles] == [
        "Outreach delivers nothing of prospect any more (gave up)",
        told.partition(";")[0],
    ]
    assert watch(scene) == Done(renewed=["prospect"])
    with scene.store.write() as db:
        webhooks.keep(db, [Arrival("b", b"{}", scene.now())])
    assert subscriptions.silence(scene.store, scene.now()) is None


def one(id: int, resource: str, action: str = EVERYTHING, url: str = HERE, version: int = VERSION) -> Subscription:
    """Return a subscription that delivers."""
    return Subscription(id, resource, action, url, active=True, version=version)


def test_what_is_doubled_or_not_wanted_ends(scene: Scene) -> None:
    """Of two for the same kind the older stays; one action only, or a kind that nobody needs, is ended, if it is ours."""
    good = [one(number, name) for number, name in enumerate(ALL, start=10)]
    surplus = [one(1, "*"), one(2, "task", action="completed"), one(20, "task"), one(3, "mailing")]
    others = [one(4, "mailing", url=ELSEWHERE)]
    told = subscriptions.needs([*surplus[:2], *good, surplus[2], *surplus[3:], *others], HERE)
    assert (told.create, told.renew, list(told.end)) == ((), (), surplus)
    old = [one(number, name, version=1) for number, name in enumerate(ALL)]
    assert list(subscriptions.needs(old, HERE).renew) == old
