"""An outlook in which all is well, for whoever changes one part of it."""

from __future__ import annotations

from datetime import UTC, datetime

from worker.core import outlook as values

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

CALM = values.Outlook(
    at=NOON,
    safe=values.Safe(
        ok=True,
        opt_outs=values.OptOuts(0, None, None, 0, 0, alarm=False),
        kept_back=values.KeptBack(0, 0, ()),
        pauses=(),
    ),
    fresh=values.Fresh(
        ok=True,
        streams=(values.Stream("prospects", True, False, NOON, NOON, 12.0, None),),
        to_crm=values.Lag(0, None, None),
        to_outreach=values.Lag(0, None, None),
        last_pass_at=None,
    ),
    stuck=values.Stuck(True, 3, 3, values.Open(0, 0, 0, 0, 0, 0), 0, (), (), ()),
    budget=values.Budget(
        ok=True,
        outreach=values.Spent(10, 10_000, 9990, 10, None, None, None, None),
        workbooks=values.Spent(5, None, None, 5, None, None, None, None),
    ),
    mapping=values.InForce("sha256:aa", NOON, "m.yaml", "sha256:aa", differs=False, problem=None, unread=()),
    credentials=values.Credentials(None, None, None, None),
    nets=values.Nets((), values.Webhooks(None, 0), {}, 0),
    next=(),
)
