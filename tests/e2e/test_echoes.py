"""Our own writes, polled again: counted once each, on either side, and told apart from what is read twice by overlap."""

from __future__ import annotations

from tests.e2e.rig import Stage
from tests.e2e.worlds import TITLE


def counted(stage: Stage, name: str) -> dict[str, int]:
    """What the store has counted of this, by stream; noughts left out."""
    rows = stage.rows(f"SELECT labels, total FROM counter WHERE name = '{name}'")
    return {stream: int(total) for stream, total in rows if total}


def test_an_echo_is_counted_once_and_the_overlap_never(stage: Stage) -> None:
    """A person and a task created, an edit carried to Outreach, somebody's edit on top of ours; then only re-reading."""
    prospect = stage.enrolled("ada@example.com")
    stage.task(1, state="skipped")
    stage.sync()
    assert counted(stage, "echoes") == {"people": 1, "crmTasks": 1}
    stage.set_person(stage.person_of(prospect)["id"], **{TITLE: "by hand"})
    stage.later(5)
    stage.sync()
    assert counted(stage, "echoes") == {"people": 1, "crmTasks": 1, "prospects": 1}
    read = counted(stage, "read")
    for _ in range(2):
        stage.later(5)
        stage.settled()
    assert counted(stage, "read")["people"] > read["people"]
    assert counted(stage, "echoes") == {"people": 1, "crmTasks": 1, "prospects": 1}
