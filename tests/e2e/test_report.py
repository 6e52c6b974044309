from __future__ import annotations

import json
import re

from tests.e2e.rig import Stage, end_of

COUNTS = [
    "queued",
    "failed",
    "new_failed",
    "deferred",
    "held",
    "held_back",
    "held_back_opt_outs",
    "excluded",
    "overwritten",
]


def test_the_report_has_exactly_the_contracts_shape(stage: Stage) -> None:
    """Keys, nested keys and types are those of section 4, and a first pass of one person counts as there told."""
    stage.enrolled("ada@example.com")
    report = stage.sync().report
    expected = [
        "run_id",
        "mapping_version",
        "converged",
        "seconds",
        "polled",
        *COUNTS,
        "paused",
        "crm",
        "outreach",
        "calls",
    ]
    assert list(report) == expected
    assert all(type(report[name]) is int for name in COUNTS)
    assert type(report["seconds"]) is float
    assert (report["converged"], report["paused"]) == (True, False)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", report["mapping_version"])
    assert set(report["polled"]) == {
        "sequences",
        "sequenceSteps",
        "prospects",
        "sequenceStates",
        "tasks",
        "people",
        "crmTasks",
    }
    assert report["polled"]["prospects"] == 1
    assert report["polled"]["sequences"] == 6
    assert report["crm"] == {
        "created": 1,
        "updated": 0,
        "recreated": 0,
        "unchanged": 0,
        "tasks_cancelled": 0,
        "opted_out": 0,
    }
    assert report["outreach"] == {"created": 0, "updated": 0, "opted_out": 0, "actions": 0}
    assert set(report["calls"]) == {"outreach", "workbooks"}
    assert report["calls"]["outreach"] == stage.outreach_calls()
    assert report["calls"]["workbooks"] == stage.crm_calls()


def test_a_second_pass_writes_and_queues_nothing(stage: Stage) -> None:
    """After people, tasks and opt-outs were written, the next pass has every count at nought and no new row."""
    for n in range(12):
        prospect = stage.prospect(f"p{n}@example.com", title=f"Title {n}", emailOptedOut=n == 3)
        state = stage.state(prospect)
        if n == 5:
            stage.task(state, state="skipped")
    for n in range(6, 15):
        stage.person(first="Bo", last=f"Borg {n}", email=f"p{n}@example.com", no_email=n == 8)
    assert stage.sync().report["converged"] is True
    rows = [stage.rows(f"SELECT count(*) FROM {table}") for table in ("history", "change", "hold", "mirror")]
    again = stage.settled()
    assert again.code == 0
    assert again.report["converged"] is True
    assert again.report["crm"]["unchanged"] == 0
    assert [stage.rows(f"SELECT count(*) FROM {table}") for table in ("history", "change", "hold", "mirror")] == rows


def test_a_process_tells_one_document_and_nothing_personal(stage: Stage) -> None:
    """As a process: exit 0, stdout is one JSON document, and neither output names anybody."""
    stage.enrolled("ada.ashby@example.com", first="Adalind", last="Ashbourne", workPhones=["+44 20 7946 0001"])
    ended = end_of(stage.process("sync", "--json"))
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["crm"]["created"] == 1
    assert ended.out.count("\n") == 1
    for secret in ("ada.ashby", "Adalind", "Ashbourne", "7946", "sim-key", "sim-access"):
        assert secret not in ended.out + ended.err
    assert ended.err == ""
