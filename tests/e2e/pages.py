"""The shapes of the long `--json` documents: status, explain, plan, mapping."""

from __future__ import annotations

from tests.e2e.shapes import ANYTHING, DAY, FLAG, MOMENT, NUMBER, SECONDS, TEXT, Shape, many, maybe, shape

LAG = shape(writes=NUMBER, p50_s=maybe(SECONDS), p95_s=maybe(SECONDS))
SPENT = shape(
    hour_used=NUMBER,
    hour_limit=maybe(NUMBER),
    hour_left=maybe(NUMBER),
    year_used=NUMBER,
    year_limit=maybe(NUMBER),
    year_left=maybe(NUMBER),
    a_year_at_this_pace=maybe(NUMBER),
    runs_out_on=maybe(DAY),
)
STATUS = shape(
    at=MOMENT,
    safe=shape(
        ok=FLAG,
        opt_outs=shape(
            undelivered=NUMBER,
            oldest_at=maybe(MOMENT),
            oldest_age_s=maybe(SECONDS),
            failed=NUMBER,
            last_hour=NUMBER,
            alarm=FLAG,
        ),
        kept_back=shape(records=NUMBER, opt_outs=NUMBER, because=many(TEXT)),
        pauses=many(shape(scope=TEXT, since=maybe(MOMENT), words=TEXT)),
    ),
    fresh=shape(
        ok=FLAG,
        streams=many(
            shape(
                stream=TEXT,
                primed=FLAG,
                reading=FLAG,
                watermark=maybe(MOMENT),
                polled_at=maybe(MOMENT),
                polled_age_s=maybe(SECONDS),
                trouble=maybe(TEXT),
                lag=LAG,
            )
        ),
        to_crm=LAG,
        to_outreach=LAG,
        last_pass_at=maybe(MOMENT),
        patience_s=SECONDS,
    ),
    stuck=shape(
        ok=FLAG,
        linked=NUMBER,
        in_sync=NUMBER,
        open=shape(due=NUMBER, deferred=NUMBER, waiting=NUMBER, held=NUMBER, failed=NUMBER, kept_back=NUMBER),
        excluded_records=NUMBER,
        excluded=many(shape(reason=TEXT, records=NUMBER)),
        held=many(shape(kind=TEXT, entries=NUMBER, records=NUMBER)),
        failed=many(shape(cause=TEXT, records=NUMBER, newest=maybe(MOMENT))),
    ),
    budget=shape(
        ok=FLAG,
        outreach=SPENT,
        workbooks=SPENT,
        slowed=many(shape(lane=TEXT, rate=SECONDS, words=TEXT)),
    ),
    mapping=shape(
        version=maybe(TEXT),
        applied_at=maybe(MOMENT),
        path=TEXT,
        file=maybe(TEXT),
        differs=FLAG,
        problem=maybe(TEXT),
        unread=many(TEXT),
    ),
    credentials=shape(
        workbooks_key_expires=maybe(DAY),
        workbooks_key_days_left=maybe(NUMBER),
        outreach_renewed_at=maybe(MOMENT),
        outreach_days_left=maybe(SECONDS),
    ),
    nets=shape(
        rounds=many(
            shape(
                name=TEXT,
                began_at=maybe(MOMENT),
                ended_at=maybe(MOMENT),
                next_at=maybe(MOMENT),
                last={"type": "object"},
                part=maybe(SECONDS),
                oldest_at=maybe(MOMENT),
            )
        ),
        webhooks=shape(last_at=maybe(MOMENT), waiting=NUMBER),
        seen={"type": "object", "additionalProperties": NUMBER},
        caught_only_by_sweep=NUMBER,
        silence=maybe(TEXT),
    ),
    next=many(shape(why=TEXT, command=TEXT)),
    work=shape(
        ok=FLAG,
        oldest_due_at=maybe(MOMENT),
        oldest_due_age_s=maybe(SECONDS),
        leased=NUMBER,
        claimed_at=maybe(MOMENT),
        troubles=many(TEXT),
        ticks=many(shape(who=TEXT, at=MOMENT, age_s=SECONDS)),
        halted=many(shape(system=TEXT, reason=TEXT, since=MOMENT)),
        resting=many(shape(system=TEXT, calls=TEXT, because=TEXT, since=MOMENT, until=maybe(MOMENT))),
    ),
)
VALUES = {"type": "object", "additionalProperties": ANYTHING}
DUE = shape(
    standing=TEXT,
    lane=TEXT,
    opened_at=maybe(MOMENT),
    next_at=maybe(MOMENT),
    attempts=NUMBER,
    error=maybe(TEXT),
    failed_at=maybe(MOMENT),
    in_work_until=maybe(MOMENT),
)
HELD = many(shape(kind=TEXT, key=TEXT, since=maybe(MOMENT), words=TEXT))
HISTORY = many(
    shape(
        at=MOMENT,
        caused_at=maybe(MOMENT),
        side=TEXT,
        action=TEXT,
        before=VALUES,
        after=VALUES,
        why=TEXT,
        mapping_version=TEXT,
    )
)
EXCHANGES = many(shape(side=TEXT, at=maybe(MOMENT), request=TEXT, reply=TEXT))
PERSON = shape(
    who=shape(prospect=NUMBER, person=maybe(NUMBER), linked_since=maybe(MOMENT), how=TEXT, candidates=many(NUMBER)),
    gates=many(shape(rule=TEXT, outcome=TEXT, decides=FLAG)),
    standing=shape(label=maybe(TEXT), rule=TEXT, at=maybe(MOMENT), roll_up=many(TEXT)),
    consent=shape(
        opted_out=FLAG,
        evidence=maybe(TEXT),
        signs=many(shape(words=TEXT, at=maybe(MOMENT), counts=FLAG, lifted=maybe(TEXT))),
        remembered=many(shape(under=TEXT, since=MOMENT, evidence=TEXT)),
    ),
    sequences=many(
        shape(
            sequence=NUMBER,
            name=TEXT,
            state=NUMBER,
            word=TEXT,
            label=maybe(TEXT),
            step=maybe(NUMBER),
            changed_at=maybe(MOMENT),
            decides=FLAG,
            rules=many(shape(number=NUMBER, rule=TEXT, verdict=TEXT)),
        )
    ),
    plan=shape(
        action=TEXT, why=TEXT, workbooks=many(TEXT), outreach=many(TEXT), fault=maybe(TEXT), kept_back=maybe(TEXT)
    ),
    fields=many(shape(field=TEXT, source=TEXT, direction=TEXT, now=VALUES, agreed=VALUES, writes=VALUES, why=TEXT)),
    due=maybe(DUE),
    held=HELD,
    excluded=maybe(TEXT),
    history=HISTORY,
    exchanges=EXCHANGES,
)
STRANGER = shape(
    person=NUMBER,
    wanted=FLAG,
    why=TEXT,
    opted_out=FLAG,
    due=maybe(DUE),
    held=HELD,
    excluded=maybe(TEXT),
    exchanges=EXCHANGES,
)
TASK = shape(
    task=NUMBER,
    prospect=maybe(NUMBER),
    person=maybe(NUMBER),
    crm_task=maybe(NUMBER),
    state=maybe(TEXT),
    skipped_by=maybe(TEXT),
    why=TEXT,
    due=maybe(DUE),
    held=HELD,
    history=HISTORY,
    exchanges=EXCHANGES,
)
EXPLAINED = shape(
    people=many(PERSON),
    strangers=many(STRANGER),
    tasks=many(TASK),
    unknown=many(shape(named=TEXT, forgotten_at=maybe(MOMENT))),
    left_out=NUMBER,
)
CRM_TOTALS = shape(
    created=NUMBER,
    updated=NUMBER,
    recreated=NUMBER,
    opted_out=NUMBER,
    cleared=NUMBER,
    tasks_cancelled=NUMBER,
    tasks_moved=NUMBER,
)
OUTREACH_TOTALS = shape(
    updated=NUMBER, opted_out=NUMBER, cleared=NUMBER, tasks_finished=NUMBER, looked_up=NUMBER, actions=NUMBER
)
ANY: Shape = {"type": ["string", "number", "boolean", "null", "array"]}
PLAN = shape(
    plan={"type": "string", "pattern": "^plan:[0-9a-f]{32}$"},
    mapping_version=TEXT,
    in_force=maybe(TEXT),
    scope={"enum": ["everyone", "selection"]},
    looked_at=NUMBER,
    anything=FLAG,
    totals=shape(workbooks=CRM_TOTALS, outreach=OUTREACH_TOTALS),
    fields=many(shape(side=TEXT, field=TEXT, records=NUMBER, cleared=NUMBER)),
    aside=shape(held=NUMBER, held_back=NUMBER, excluded=NUMBER, anyway=NUMBER),
    reads_first=many(shape(stream=TEXT, names=many(TEXT), calls=NUMBER)),
    left_alone=many(TEXT),
    calls=shape(workbooks=NUMBER, outreach=NUMBER),
    minutes=SECONDS,
    samples=many(
        shape(
            action=TEXT,
            prospect=maybe(NUMBER),
            person=maybe(NUMBER),
            task=maybe(NUMBER),
            changes=many(shape(side=TEXT, field=TEXT, before=ANY, after=ANY)),
        )
    ),
    notes=many(TEXT),
    troubles=many(TEXT),
)
PROBLEM = shape(line=NUMBER, column=NUMBER, words=TEXT)
FAILED = shape(line=NUMBER, column=NUMBER, test=TEXT, field=TEXT, expected=TEXT, actual=TEXT, why=TEXT)
CHECKED: Shape = {
    "type": "object",
    "properties": {
        "ok": FLAG,
        "file": TEXT,
        "version": TEXT,
        "problems": many(PROBLEM),
        "tests": shape(run=NUMBER, failed=many(FAILED)),
        "notes": many(TEXT),
    },
    "required": ["ok", "file", "problems", "tests", "notes"],
    "additionalProperties": False,
}
APPLIED = shape(
    file=TEXT,
    applied=FLAG,
    version=TEXT,
    before=maybe(TEXT),
    queued=NUMBER,
    reads_first={"type": "object", "additionalProperties": many(TEXT)},
    moved=many(TEXT),
)
DIFFERENCES = shape(
    old=TEXT, new=TEXT, differences=many(shape(where=TEXT, old=maybe(TEXT), new=maybe(TEXT), words=TEXT))
)
