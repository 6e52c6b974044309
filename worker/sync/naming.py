"""How events are asked for: all of them, or, where they are many and tell nothing that polls do not, by name.

Most events say that a record has changed, and polls show that. What polls cannot show, opt-outs taken back since and what was
destroyed, has names that are known. Events that all come with one page are read in full; where there are more, their first
page is looked at once an hour, and as long as it tells of a change that no stamp did, all the others are read as well.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from worker.core import errors, transforms
from worker.core.records import Feed
from worker.remote import outreach_feeds
from worker.store import meta
from worker.sync.hints import ABOUT, DESTROYED

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from worker.remote.outreach_feeds import Page
    from worker.store.database import Store
    from worker.sync.case import Applier

OPT_OUTS = frozenset({"opt_out", "emails_opt_out"})
"""Events that somebody opted out of e-mail. What says the contrary undoes nothing."""
NAMES = (*sorted(OPT_OUTS), *sorted(f"{start.rstrip('_')}{DESTROYED}" for start in ABOUT))
"""What no poll shows (facts, outreach-api 6.6)."""
BY_NAME, IN_FULL = "events_by_name", "events_in_full"
"""Keys under which stands until when events are asked for so; in full goes before."""
AN_HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)


def suffices(store: Store, now: datetime) -> bool:
    """Tell whether events are asked for by name just now."""
    with store.read() as db:
        return _holds(db, BY_NAME, now) and not _holds(db, IN_FULL, now)


def distrust(db: sa.Connection, now: datetime) -> None:
    """Ask for all events for a day: the names were refused, or not heeded."""
    meta.replace(db, IN_FULL, (now + A_DAY).isoformat())


def narrow(on: Applier, page: Page) -> Page | None:
    """Return the first page of what is asked for by name, from a ``page`` of all events on, in the place of what comes after.

    None where that cannot be. An empty answer is believed only of a vendor that has just answered to a name that is there.
    """
    now = on.now()
    witness = next((one for one in page.entries if one.name.isidentifier()), None)
    with on.store.read() as db:
        if witness is None or _holds(db, IN_FULL, now):
            return None
    there = {one.id for one in page.entries if one.name in NAMES}
    ask = partial(outreach_feeds.page, on.remotes.outreach, Feed.EVENTS, since=page.entries[0].entered, link=None)
    found = None
    try:
        tried = ask(names=sorted({*NAMES, witness.name}))
        if _only(tried, {*NAMES, witness.name}) and any(one.name == witness.name for one in tried.entries):
            found = ask(names=NAMES)
            whole = found.next is not None or there <= {one.id for one in found.entries}
            found = found if whole and _only(found, {*NAMES}) else None
    except errors.ContractBroken:
        pass
    with on.store.write() as db:
        if found is None:
            distrust(db, now)
        else:
            meta.replace(db, BY_NAME, (now + AN_HOUR).isoformat())
    return found


def _only(page: Page, names: set[str]) -> bool:
    return all(one.name in names for one in page.entries)


def _holds(db: sa.Connection, key: str, now: datetime) -> bool:
    until = transforms.parse_time(meta.get(db, key))
    return until is not None and now < until
