"""The shape of every verb's `--json` document, by the verb's words; ``rig`` holds every document of every test against it."""

from __future__ import annotations

from collections.abc import Sequence

import jsonschema  # type: ignore[import-untyped]

from tests.e2e.pages import APPLIED, CHECKED, DIFFERENCES, EXPLAINED, PLAN, STATUS
from tests.e2e.shapes import ANYTHING, FLAG, MOMENT, NUMBER, SECONDS, TEXT, Shape, many, maybe, shape

STAMP: Shape = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
HASH: Shape = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
COUNTS: Shape = {"type": "object", "additionalProperties": NUMBER}
FORGOTTEN = shape(
    prospects=many(NUMBER),
    people=many(NUMBER),
    addresses=NUMBER,
    erased={"type": "object", "additionalProperties": NUMBER},
    still_in_outreach=maybe(many(NUMBER)),
    still_in_workbooks=maybe(many(NUMBER)),
    troubles=many(TEXT),
)
LEVEL = {"enum": ["ok", "warn", "fail"]}
CHECKS = shape(ok=FLAG, checks=many(shape(name=TEXT, level=LEVEL, words=TEXT, fix=TEXT)))
STEP = shape(on=TEXT, field=TEXT, type=maybe(TEXT), labels=many(TEXT))
SET_UP = shape(
    dry_run=FLAG, planned=many(STEP), made=many(STEP), troubles=many(shape(field=TEXT, words=TEXT, by_hand=TEXT))
)
AUTHORISED = shape(organisation=maybe(TEXT), scopes=many(TEXT), expires_at={**MOMENT, "pattern": r"^\d{4}-\d\d-\d\dT"})
REPORT = shape(
    {
        "paused_scopes": many(TEXT),
        "chosen": NUMBER,
        "unknown": NUMBER,
        "troubles": many(TEXT),
        "swept": {"type": "object", "additionalProperties": shape(read=NUMBER, missed=NUMBER, removed=NUMBER)},
        "plan": many(
            shape(
                {"prospect": NUMBER, "person": maybe(NUMBER), "task": NUMBER, "wish": TEXT, "sequence": maybe(TEXT)},
                action=TEXT,
                why=TEXT,
                crm=many(TEXT),
                outreach=many(TEXT),
            )
        ),
    },
    run_id=TEXT,
    mapping_version=HASH,
    converged=FLAG,
    seconds=SECONDS,
    polled=COUNTS,
    queued=NUMBER,
    failed=NUMBER,
    new_failed=NUMBER,
    deferred=NUMBER,
    held=NUMBER,
    held_back=NUMBER,
    held_back_opt_outs=NUMBER,
    excluded=NUMBER,
    overwritten=NUMBER,
    paused=FLAG,
    crm=shape(
        created=NUMBER, updated=NUMBER, recreated=NUMBER, unchanged=NUMBER, tasks_cancelled=NUMBER, opted_out=NUMBER
    ),
    outreach=shape(created=NUMBER, updated=NUMBER, opted_out=NUMBER, actions=NUMBER),
    calls=shape(outreach=NUMBER, workbooks=NUMBER),
)
RECEIPT = shape(
    {"left": shape(open=NUMBER, deferred=NUMBER, failed=NUMBER, held_back=NUMBER)},
    queued=NUMBER,
    prospects=NUMBER,
    people=NUMBER,
    tasks=NUMBER,
    skipped=many(shape(record=TEXT, why=TEXT, words=TEXT)),
    dry_run=FLAG,
)
LETTER = {
    "id": NUMBER,
    "record": TEXT,
    "words": maybe(TEXT),
    "attempts": NUMBER,
    "opt_out": FLAG,
    "opened_at": maybe(STAMP),
    "failed_at": maybe(STAMP),
}
CAUSE = shape(
    number=NUMBER,
    cause=TEXT,
    records=NUMBER,
    opt_outs=NUMBER,
    first_seen=maybe(STAMP),
    newest=maybe(STAMP),
    hint=TEXT,
    letters=many(shape(**LETTER)),
)
SHOWN = shape(
    **LETTER,
    cause=TEXT,
    hint=TEXT,
    exchanges=many(shape(at=maybe(STAMP), side=TEXT, request=TEXT, reply=TEXT)),
    history=many(shape(at=STAMP, side=TEXT, action=TEXT, fields=many(TEXT), why=TEXT)),
)
ENTRY = shape(key=TEXT, kind=TEXT, records=NUMBER, since=STAMP, words=TEXT)
PAUSED = many(shape(scope=TEXT, since=STAMP, words=TEXT))
HOOK = shape(
    id=NUMBER,
    resource=TEXT,
    action=TEXT,
    url=TEXT,
    active=FLAG,
    payloadVersion=ANYTHING,
    disabledReason=maybe(TEXT),
    disabledSince=maybe(TEXT),
    disabledUntil=maybe(TEXT),
)
HOOKS = {"webhooks": many(HOOK), "last_arrived": maybe(STAMP), "waiting": NUMBER, "troubles": many(TEXT)}
COMPARED = shape(
    {
        "troubles": many(TEXT),
        "repair": shape({"pass": REPORT}, plan=COUNTS, opened=NUMBER, held=NUMBER),
    },
    coverage=SECONDS,
    complete=FLAG,
    pairs=NUMBER,
    compared=NUMBER,
    began_at=maybe(STAMP),
    read=COUNTS,
    differences=NUMBER,
    found=COUNTS,
    fields=COUNTS,
    missed=COUNTS,
    findings=many(
        shape(
            kind=TEXT,
            prospect=maybe(NUMBER),
            people=many(NUMBER),
            why=TEXT,
            fields=many(shape(field=TEXT, right=TEXT, why=TEXT)),
        )
    ),
    calls=COUNTS,
)
LOADED = shape(
    files=NUMBER,
    bento=maybe(TEXT),
    o_id=maybe(TEXT),
    rows_read=NUMBER,
    superseded=NUMBER,
    taken=NUMBER,
    unchanged=NUMBER,
    older=NUMBER,
    deleted=NUMBER,
    skipped=COUNTS,
    queued=NUMBER,
    newest=maybe(STAMP),
    lacking=many(shape(stream=TEXT, ids=NUMBER, calls=NUMBER, found=maybe(NUMBER), gone=maybe(NUMBER))),
    watermark=maybe(STAMP),
    not_complete=maybe(TEXT),
    troubles=many(TEXT),
)
OPTED_IN = shape(
    people=many(
        shape(prospect=maybe(NUMBER), person=maybe(NUMBER), opted_in=FLAG, was_opted_out=FLAG, waits_for=maybe(TEXT))
    ),
    addresses=NUMBER,
)
BOUND = shape(was=maybe(TEXT), **{"is": maybe(TEXT)})
COPIED = {"type": "object", "additionalProperties": shape(rows=NUMBER, checksum=TEXT)}

DOCUMENTS: dict[str, Shape] = {
    "auth outreach": AUTHORISED,
    "backfill": LOADED,
    "crm setup": SET_UP,
    "db copy": shape(moved_to=TEXT, tables=COPIED),
    "db rebind": shape({"outreach": BOUND, "workbooks": BOUND}),
    "db upgrade": shape(was=maybe(TEXT), **{"is": TEXT}),
    "doctor": CHECKS,
    "explain": EXPLAINED,
    "failures drop": shape(dropped=NUMBER, refused=many(shape(**LETTER, why=TEXT))),
    "failures list": shape(records=NUMBER, causes=many(CAUSE)),
    "failures retry": RECEIPT,
    "failures show": SHOWN,
    "forget": FORGOTTEN,
    "held approve": shape(approved=many(ENTRY), due=NUMBER),
    "held list": shape(held=many(ENTRY)),
    "held reject": shape(rejected=many(ENTRY), unlinked=NUMBER),
    "link": shape(linked=many(shape(prospect=NUMBER, person=NUMBER, already=FLAG))),
    "mapping apply": APPLIED,
    "mapping check": CHECKED,
    "mapping diff": DIFFERENCES,
    "mapping init": shape(file=TEXT, written=FLAG, schema=TEXT),
    "mapping schema": {"anyOf": [shape(mapping=TEXT, schema=TEXT, live=FLAG, changed=FLAG), {"required": ["$defs"]}]},
    "opt-in": OPTED_IN,
    "pause": shape(new=FLAG, paused=PAUSED),
    "plan": PLAN,
    "reconcile": COMPARED,
    "resume": shape(resumed=many(TEXT), paused=PAUSED, due=NUMBER),
    "resync": RECEIPT,
    "status": STATUS,
    "sync": REPORT,
    "webhooks remove": shape(removed=many(HOOK)),
    "webhooks setup": shape(
        url=TEXT, created=many(TEXT), renewed=many(TEXT), removed=many(TEXT), refused={"type": "object"}, **HOOKS
    ),
    "webhooks status": shape(url=maybe(TEXT), **HOOKS),
}
_READY = {verb: jsonschema.Draft202012Validator(wanted) for verb, wanted in DOCUMENTS.items()}


def held_against(arguments: Sequence[str], document: object) -> None:
    """Raise unless the document is of the shape of the verb that printed it."""
    verb = next(words for n in (2, 1) if (words := " ".join(arguments[:n])) in DOCUMENTS)
    _READY[verb].validate(document)
