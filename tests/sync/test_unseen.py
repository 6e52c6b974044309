"""A write of ours whose reply nobody saw is no edit of the CRM, however late its lists tell of it (F29 found two ways)."""

from __future__ import annotations

import pytest

from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, Scene, fault
from tests.sync.test_crashes import dies


def title(scene: Scene, value: str) -> None:
    """Let somebody edit the title in Outreach."""
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": value})


def both(scene: Scene) -> tuple[object, object]:
    """Return the title on both sides."""
    return scene.of_outreach("prospect", 1)["title"], scene.of(1)["person_job_title"]


def test_what_landed_unseen_counts_as_agreed_from_then_on(make_scene: MakeScene) -> None:
    """The process dies before it reads the reply; all is found well; an edit in Outreach long after that still travels."""
    scene = make_scene()
    scene.prospect(1, 1)
    assert scene.sync().converged
    scene.later(300)
    title(scene, "Once")
    dies(scene, "told: write crm /crm/people.api")
    assert both(scene) == ("Once", "Once")
    scene.later(LEASE_S)
    assert scene.sync().converged
    scene.later(300)
    title(scene, "Twice")
    assert scene.sync().converged
    assert both(scene) == ("Twice", "Twice")


@pytest.mark.parametrize("wait_s", [1.0, 12.0, 40.0])
def test_a_list_that_lags_tells_no_edit(make_scene: MakeScene, wait_s: float) -> None:
    """The reply is lost and the lists know nothing for 30 s; whoever edits in Outreach meanwhile is not overwritten."""
    scene = make_scene(crm_options={"search_lag": 30.0})
    scene.prospect(1, 1)
    scene.sync(wait_s=200)
    scene.later(60)
    title(scene, "Once")
    scene.crm.faults.arm([fault("lost_reply", path="people", op="write")])
    for turn in ("Twice", "Thrice"):
        scene.poll()
        scene.apply()
        scene.later(wait_s)
        title(scene, turn)
    for _ in range(8):
        scene.poll()
        scene.apply()
        scene.later(11)
    assert both(scene) == ("Thrice", "Thrice")
