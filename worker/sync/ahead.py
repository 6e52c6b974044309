"""Opt-outs ahead of everything: in a long run over people or prospects whoever may have opted out is read before their turn.

A run goes from the oldest change to the newest, and under a backlog most of it is known: what we ourselves have just written
in the CRM, or what is read again in Outreach to be sure. An opt-out at its end would wait for all of that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import transforms
from worker.core.mapping import Computed
from worker.core.records import Kind
from worker.sync import identify, streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.store.cursors import Reading
    from worker.sync.streams import Remotes

EVERY = timedelta(seconds=5)
"""How often a run that goes on looks ahead."""
PAGES = 10
"""How far it looks at a time; what lies beyond comes into sight as the run goes on."""


class Lookout:
    """Looks ahead of one run, now and then; a run that ends with its first page costs no request."""

    def __init__(self, *, remotes: Remotes, mapping: Mapping, now: Callable[[], datetime]) -> None:
        """Keep what is needed."""
        self._remotes, self._mapping, self._now = remotes, mapping, now
        self._looked_at: datetime | None = None

    def ahead(self, reading: Reading[Kind], lacking: frozenset[str]) -> list[Snapshot]:
        """Return who may have opted out among those that a run still has to read; nothing if it is not time to look."""
        now = self._now()
        if reading.stream not in {Kind.PERSON, Kind.PROSPECT} or not reading.primed:
            return []
        if self._looked_at is not None and now - self._looked_at < EVERY:
            return []
        self._looked_at = now
        return self._newest(reading) if reading.stream is Kind.PROSPECT else self._ticked(reading, lacking)

    def _newest(self, reading: Reading[Kind]) -> list[Snapshot]:
        """Return the prospects that changed last: Outreach finds none by an opt-out (facts, outreach-api 1)."""
        page = self._remotes.outreach.page(
            Kind.PROSPECT,
            attributes=streams.attributes(Kind.PROSPECT, self._mapping),
            relations=streams.relations(Kind.PROSPECT),
            since=reading.watermark or reading.run_began,
            newest_first=True,
        )
        return list(page.snapshots)

    def _ticked(self, reading: Reading[Kind], lacking: frozenset[str]) -> list[Snapshot]:
        """Return the people with No Email behind the place where the run stands."""
        flag = self._mapping.field_of(Computed.OPTED_OUT)
        since = reading.run_began if reading.watermark is None else reading.place_at
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
            if len(page.snapshots) < identify.CRM_PAGE or not news:
                break
        return list(found.values())
