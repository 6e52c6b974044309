"""What is kept of a refusal: its status as the vendor gave it, and nobody's name."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.sync.asking import ACTION, ask, enabled
from tests.sync.conftest import MakeScene
from tests.sync.scene import Call, Scene, fault
from tests.sync.test_finished import BACK, TASK, mark, put
from worker.core.records import System
from worker.store import exchanges, outbox

NAMED = "Quillfeather and Grandmaster may not be 203 or answered 418"


def told(scene: Scene, side: System = System.OUTREACH) -> dict[str, Any]:
    """Return the one reply of a side."""
    with scene.store.read() as db:
        query = sa.select(exchanges.EXCHANGE.c.reply).where(exchanges.EXCHANGE.c.system == side)
        return dict(json.loads(db.execute(query).scalar_one()))


def refused(scene: Scene, path: str, code: int) -> None:
    """Let Outreach refuse the next write there in words that name somebody and look like a status."""
    body = json.dumps({"errors": [{"id": "validationError", "detail": NAMED}]})
    scene.outreach.faults.arm([fault("status", path=path, op="write", code=code, body=body)])


def named(scene: Scene) -> list[str]:
    """Return whatever is kept, here and in the CRM, that names her."""
    with scene.store.read() as db:
        kept = [str(row) for row in db.execute(sa.select(exchanges.EXCHANGE))]
        kept += [str(row.error) for row in db.execute(sa.select(outbox.CHANGE))]
    kept += [str(person.get("cf_person_outreach_error")) for person in scene.people()]
    assert any("may not be" in one for one in kept)
    return [one for one in kept if "Quillfeather" in one or "Grandmaster" in one]


def test_a_person_who_cannot_be_created_is_not_named(make_scene: MakeScene) -> None:
    """Values that Outreach was not even sent stay out of its words, wherever these are kept; 422 was its status."""
    scene = make_scene()
    line = "{outreach: title,             direction: both}"
    scene.mapping = scene.mapped((line, line.replace("both", "to_crm")))
    fields = {"person_last_name": "Quillfeather", "person_job_title": "Grandmaster", "cf_person_sync_to_outreach": True}
    scene.person(**fields, **{"main_location[email]": "q@people.example"})
    refused(scene, "prospects$", 422)
    assert scene.sync().counts.dead == 1
    assert named(scene) == []
    assert (told(scene)["status"], told(scene)["ok"]) == (422, False)


def test_a_task_that_cannot_be_finished_names_nobody(make_scene: MakeScene) -> None:
    """The prospect's name and title are known here alone, and hidden; the refusal's status is told."""
    scene = make_scene()
    scene.mapping = scene.mapped(BACK)
    scene.prospect(7, 1, lastName="Quillfeather", title="Grandmaster")
    put(scene, TASK)
    scene.sync()
    refused(scene, "/tasks/", 409)
    mark(scene, "Complete")
    assert scene.sync().counts.dead == 1
    assert named(scene) == []
    with scene.store.read() as db:
        query = sa.select(exchanges.EXCHANGE.c.reply).where(exchanges.EXCHANGE.c.kind == "tasks")
        assert json.loads(db.execute(query).scalar_one())["status"] == 409


@pytest.mark.parametrize("code", [409, 422])
def test_a_refused_edit_tells_its_status(scene: Scene, code: int) -> None:
    """An edit of the CRM that Outreach takes nothing of: no number in its words is taken for a status."""
    scene.prospect(7, 1)
    scene.sync()
    scene.later(300)
    scene.edit_crm(op="set", type="person", id=scene.of(7)["id"], fields={"person_job_title": "Theirs"})
    refused(scene, "prospects/7$", code)
    assert scene.sync().counts.dead == 1
    assert (told(scene)["status"], told(scene)["ok"]) == (code, False)
    assert "may not be 203" in told(scene)["refused"]


def test_a_refused_wish_tells_its_status(scene: Scene) -> None:
    """A sequence action refused with 422; an answer that never came has none."""
    enabled(scene)
    scene.prospect(7, 1)
    scene.sync()
    refused(scene, "/sequenceStates/", 422)
    ask(scene, "Pause", "1")
    scene.sync()
    assert (told(scene)["status"], told(scene)["ok"]) == (422, False)

    def lost(call: Call) -> None:
        if call.writes and "/sequenceStates/" in call.path:
            raise httpx.ReadTimeout("lost")

    scene.wire.after.append(lost)
    ask(scene, "Pause", "1")
    scene.poll()
    scene.apply()
    assert (told(scene).get("status"), told(scene)["error"]) == (None, "Unanswered")
    assert scene.of(7).get(ACTION) == "Pause"


def test_a_throttled_batch_tells_its_status(scene: Scene) -> None:
    """429 without a body: the status is there for each record of the batch."""
    scene.prospect(7, 1)
    scene.crm.faults.arm([fault("status", op="write", times=None, code=429, headers={"Retry-After": "600"})])
    scene.poll()
    scene.apply()
    assert (told(scene, System.CRM)["status"], told(scene, System.CRM)["error"]) == (429, "Throttled")
