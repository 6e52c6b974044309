"""Opt-outs ahead of everything: in a long run over people or prospects whoever may have opted out is read before their turn.

A run goes from the oldest change to the newest, and under a backlog most of it is known: what we ourselves have just written
in the CRM, or what is read again in Outreach to be sure. An opt-out at its end would wait for all of that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import cursor, transforms
from worker.core.mapping import Computed
from worker.core.records import Kind
from worker.sync import identify, streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.remote.base import Page
    from worker.store.cursors import Reading
    from worker.sync.streams import Remotes

FEW = 3
"""A look costs as much time as a page does: a run that ends within so many is quicker read to its end."""
EVERY, AT_LEAST = timedelta(seconds=60), timedelta(seconds=5)
"""How often a run that goes on looks again: as often as an idle stream would be read, but not more often than this."""
PAGES = 10
"""How far it looks at a time; what lies beyond comes into sight as the run goes on."""


class Lookout:
    """Looks ahead of one run, now and then; a run of few pages costs no request, and none is asked twice for one stretch."""

    def __init__(self, *, remotes: Remotes, mapping: Mapping, now: Callable[[], datetime], every: timedelta) -> None:
        """Keep what is needed; ``every`` is how often the stream is read where nothing waits."""
        self._remotes, self._mapping, self._now = remotes, mapping, now
        self._every = max(every, AT_LEAST)
        self._pages = 0
        self._looked_at: datetime | None = None
        self._known_to: datetime | None = None

    def ahead(self, reading: Reading[Kind], lacking: frozenset[str]) -> list[Snapshot]:
        """Return who may have opted out among those that a run still has to read; nothing if it is not time to look.

        It is asked after each page but the last.
        """
        now = self._now()
        self._pages += 1
        if reading.stream not in {Kind.PERSON, Kind.PROSPECT} or not reading.primed or self._pages < FEW:
            return []
        if self._looked_at is not None and now - self._looked_at < self._every:
            return []
        self._looked_at = now
        return self._newest(reading) if reading.stream is Kind.PROSPECT else self._ticked(reading, lacking)

    def _since(self, *begins: datetime | None) -> datetime | None:
        """Return from when on to look: not what an earlier look has shown to its end."""
        return max((at for at in (self._known_to, *begins) if at is not None), default=None)

    def _shown(self, page: Page) -> None:
        """Keep that this one page showed everything there was at the server's time."""
        self._known_to = page.server_time - cursor.SAFETY

    def _newest(self, reading: Reading[Kind]) -> list[Snapshot]:
        """Return the prospects that changed last: Outreach finds none by an opt-out (facts, outreach-api 1)."""
        page = self._remotes.outreach.page(
            Kind.PROSPECT,
            attributes=streams.attributes(Kind.PROSPECT, self._mapping),
            relations=streams.relations(Kind.PROSPECT),
            since=self._since(reading.watermark or reading.run_began),
            newest_first=True,
        )
        if page.next is None:
            self._shown(page)
        return list(page.snapshots)

    def _ticked(self, reading: Reading[Kind], lacking: frozenset[str]) -> list[Snapshot]:
        """Return the people with No Email behind the place where the run stands."""
        flag = self._mapping.field_of(Computed.OPTED_OUT)
        since = self._since(reading.run_began if reading.watermark is None else reading.place_at)
        if flag is None or flag.crm in lacking or since is None:
            return []
        filters = [
            ("updated_at", "ge", transforms.crm_time(since)),
            (flag.crm, "true", ""),
            ("is_deleted", "true", ""),
            ("is_deleted", "false", ""),
        ]
        return self._found(filters, streams.columns(Kind.PERSON, self._mapping, lacking))

    def _found(self, filters: list[tuple[str, str, str]], columns: tuple[str, ...]) -> list[Snapshot]:
        found: dict[int, Snapshot] = {}
        for number in range(PAGES):
            page = self._remotes.crm.page(
                Kind.PERSON,
                columns=columns,
                filters=filters,
                match="1 AND 2 AND (3 OR 4)",
                sort=("updated_at", "id"),
                start=number * identify.CRM_PAGE,
                limit=identify.CRM_PAGE,
            )
            news = {one.ref.id: one for one in page.snapshots if one.ref.id not in found}
            found |= news
            if not number and len(page.snapshots) < identify.CRM_PAGE:
                self._shown(page)
            if len(page.snapshots) < identify.CRM_PAGE or not news:
                break
        return list(found.values())
