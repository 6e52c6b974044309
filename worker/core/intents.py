"""What was about to be written, and whether it got there although nobody lived to see the reply.

An intent is JSON: ``crm`` and ``outreach`` say what was to be done, ``to_crm`` and ``to_outreach`` the values by CRM field,
``once_to_crm`` and ``once_to_outreach`` those of earlier tries, any of which may be what arrived; ``unconfirmed`` since when
there may be a new record in the CRM of which no reply has told, ``in_vain`` how often one was waited for before that.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.core import transforms
from worker.core.plan import UNSHADOWED, Action
from worker.core.records import Link, Shadow
from worker.core.transforms import ABSENT, Absent

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Field, Mapping
    from worker.core.plan import PersonPlan, PersonView
    from worker.core.records import Value

NOWHERE = 0
"""The CRM id in a link that stands for one which the receipt was to make."""
UNCONFIRMED, IN_VAIN = "unconfirmed", "in_vain"
DOUBTED_FOR = timedelta(seconds=35)
"""How long an unconfirmed new record may stay unseen in the CRM's lists before it is taken for one that never was."""
LOOK_AGAIN_S = 10.0
"""How often such a record is looked for: an index may lag behind a write, and nobody tells by how much."""
REMEMBERED = 8
"""How many earlier values of one field are kept: as many as tries may be under way before a list has caught up."""
MAKING = frozenset({Action.CREATE.value, Action.RECREATE.value})


def of(plan: PersonPlan, mapping: Mapping, earlier: Dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return the intent of a plan. What an ``earlier`` one says about other fields may still be all that is known."""
    outreach = {line.crm: transforms.read(line.outreach, plan.outreach) for line in mapping.copied if line.outreach}
    sent = {name: value for name, value in outreach.items() if not isinstance(value, Absent)}
    action = plan.action.value if plan.writes_crm else None
    return {
        **doubted(action, earlier, now),
        "crm": action,
        "outreach": sorted(plan.outreach),
        **_sent("to_crm", plan.crm if plan.writes_crm else {}, earlier),
        **_sent("to_outreach", sent, earlier),
    }


def _sent(side: str, values: Dict[str, Any], earlier: Dict[str, Any]) -> dict[str, Any]:
    """Return what is sent to a side now, and what was sent there before and nobody has confirmed, the newest last."""
    before = earlier.get(side, {})
    once = {name: list(told) for name, told in earlier.get(f"once_{side}", {}).items()}
    for name in values.keys() & before.keys():
        if before[name] != values[name]:
            once[name] = [*once.get(name, []), before[name]][-REMEMBERED:]
    return {side: {**before, **values}} | ({f"once_{side}": once} if once else {})


def doubted(action: str | None, earlier: Dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return since when there may be an unseen new record: from now on if one is about to be made, else as before."""
    if action not in MAKING:
        return {name: earlier[name] for name in (UNCONFIRMED, IN_VAIN) if name in earlier}
    in_vain = earlier.get(IN_VAIN, 0) + (UNCONFIRMED in earlier)
    return {UNCONFIRMED: now.isoformat(), **({IN_VAIN: in_vain} if in_vain else {})}


def sure(intent: Dict[str, Any]) -> dict[str, Any]:
    """Return an intent of which the vendor has told that it made no record."""
    return {name: value for name, value in intent.items() if name not in {UNCONFIRMED, IN_VAIN}}


def to_wait_s(intent: Dict[str, Any], now: datetime) -> float | None:
    """Return how long to wait before an unconfirmed new record is looked for again, None if it may be made now."""
    since = intent.get(UNCONFIRMED)
    left = DOUBTED_FOR - abs(now - datetime.fromisoformat(since)) if since else timedelta(0)
    return min(LOOK_AGAIN_S, left.total_seconds()) if left > timedelta(0) else None


def landed(view: PersonView, intent: Dict[str, Any], mapping: Mapping) -> PersonView:
    """Return the view with what a lost write of ours left on either side taken as agreed: it is nobody's edit.

    Otherwise an edit made on the other side since then would meet our own older value there, and lose to it.
    """
    if not intent or view.person is None or view.person.deleted:
        return view
    link = view.link or _made(view, intent, mapping)
    if link is None or link.gone:
        return view
    saved_since = view.link is None and bool(view.person.version)
    told = ((line.crm, _arrived(view, line, intent, saved_since=saved_since)) for line in mapping.fields)
    arrived = {name: value for name, value in told if not isinstance(value, Absent)}
    if not arrived:
        return view
    shadow = Shadow({**link.shadow.outreach, **arrived}, {**link.shadow.crm, **arrived})
    return replace(view, link=replace(link, shadow=shadow))


def _made(view: PersonView, intent: Dict[str, Any], mapping: Mapping) -> Link | None:
    """Return a link if the person is the one that was about to be made."""
    bears = view.person.fields.get(mapping.reference) if view.person else None
    created = intent.get("crm") in MAKING or UNCONFIRMED in intent
    return Link(view.prospect_id, NOWHERE) if created and str(bears or "") == str(view.prospect_id) else None


def _arrived(view: PersonView, line: Field, intent: Dict[str, Any], *, saved_since: bool) -> Value | Absent:
    """Return the value of a field that was sent to one side and now stands there.

    So it did at first in a record of our making: what stands there since somebody saved it, is theirs and travels.
    """
    if line.computed in UNSHADOWED:
        return ABSENT
    shown = view.person.fields.get(line.crm, ABSENT) if view.person else ABSENT
    source = transforms.read(line.outreach, view.prospect.fields) if line.outreach and view.prospect else ABSENT
    for side, held in (("to_crm", shown), ("to_outreach", source)):
        once = intent.get(f"once_{side}", {}).get(line.crm, [])
        for sent in [*([intent[side][line.crm]] if line.crm in intent.get(side, {}) else []), *reversed(once)]:
            if transforms.same(line.compare, sent, held):
                return sent  # type: ignore[no-any-return]
    tried_once = line.outreach and line.crm not in intent.get("once_to_crm", {})
    return intent.get("to_crm", {}).get(line.crm, ABSENT) if saved_since and tried_once else ABSENT
