"""Delivers the simulated Outreach's webhooks: background threads that live only while something is to be sent.

As fact sheet section 7.2 tells: 5 s to answer, any HTTP status counts as accepted, four attempts a second apart where
there was none (a timeout counts as none; that is our reading), then the delivery is lost. A host that cannot be found
suspends the subscription for a minute, one on a private network for an hour, and what falls due meanwhile is lost; one
that has failed for seven days by the simulator's clock is switched off for good. Only loopback is ever called: any
other host counts as one that cannot be found.

``GET /_sim/webhooks`` → settings, ``pending`` and the newest ``deliveries`` (with ``event``, ``body``, ``headers``).
``POST /_sim/webhooks`` changes settings (:class:`Settings`: shares 0 to 1 of ``lose``, ``duplicate``, ``reorder``,
``delay`` drawn from ``seed``; ``timeout_s``, ``retry_s`` …), or acts: ``{"forge": {"hook": id, "type", "id", "action",
"attributes", "relations", "signature": "wrong"|"none"|"right", "headers"}}`` sends what never happened, ``{"replay":
event id}`` the newest delivery of that event again to the letter. A key ``forge`` may hold a list.
"""

from __future__ import annotations

import heapq
import http.client
import random
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.sim import outreach_webhooks as webhooks
from worker.sim.outreach_letter import Letter, compose
from worker.sim.outreach_post import NotLoopbackError, post
from worker.sim.outreach_store import stamp
from worker.sim.outreach_webhooks import News

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.sim.control import Journal
    from worker.sim.instruments import Json
    from worker.sim.outreach_store import Record
    from worker.sim.outreach_world import World

KEEPS = 2_000
BAD_DAYS = timedelta(days=7)
SUSPENDED_S = {"dns": 60, "private": 3_600}
WORDS = {
    "dns": "Failed to resolve the hostname.",
    "private": "The URL points to a private network.",
    "refused": "Failed to connect.",
}


@dataclass(slots=True)
class Settings:
    """How deliveries go wrong, and how long they take.

    ``reorder`` sends a share ``reorder_s`` late, behind what follows; ``delay`` a share ``delay_s`` late.
    ``unreachable`` pretends for every URL that the host is not found (``dns``), ``private``, or ``refused``.
    ``lanes`` 1 keeps deliveries in order; ``empty_updates`` puts an empty ``updated`` before each ``destroyed``.
    """

    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    reorder_s: float = 0.5
    delay_s: float = 5.0
    timeout_s: float = 5.0
    retry_s: float = 1.0
    attempts: int = 4
    lanes: int = 4
    empty_updates: bool = True
    unreachable: str | None = None
    seed: int = 1


@dataclass(order=True, slots=True)
class Parcel:
    """One delivery to be made at ``due`` (monotonic seconds), the ``n``-th."""

    due: float
    n: int
    hook: int = field(compare=False)
    news: News | None = field(compare=False)
    attempt: int = field(default=1, compare=False)
    mark: str | None = field(default=None, compare=False)
    forged: Mapping[str, Any] = field(default_factory=dict, compare=False)
    letter: Letter | None = field(default=None, compare=False)


class Courier:
    """Hears what happens in a world and tells the subscriptions."""

    def __init__(self, world: World, journal: Journal) -> None:
        """Start with nothing to send and no thread."""
        self._world, self._journal = world, journal
        self._wake = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._clear()

    def _clear(self) -> None:
        with self._wake:
            self.settings = Settings()
            self._chance = random.Random(self.settings.seed)
            self._parcels: list[Parcel] = []
            self._made, self._era, self._busy = 0, object(), 0
            self._deliveries: deque[dict[str, Any]] = deque(maxlen=KEEPS)
            self._failing: dict[int, datetime] = {}
            self._wake.notify_all()

    def reset(self) -> None:
        """Forget everything, settings too; what is under way is told to nobody."""
        self._clear()

    def close(self) -> None:
        """Drop what is unsent and wait for the threads, at most a second each."""
        with self._wake:
            self._parcels, self._era, self._busy = [], object(), 0
            self._wake.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout=1)

    def hear(self, news: News, told: str | None = None) -> None:
        """Queue deliveries of what happened; ``told`` is the vendor's own word for it. The world's lock is held."""
        hooks = self._world.store["webhook"].rows
        if not hooks or news.id in self._world.store[news.type].hidden:
            return
        self.tick()
        every = [news] + ([news.named(told)] if told in webhooks.ACTIONS.get(news.type, ()) else [])
        for one in every:
            for hook in list(hooks.values()):
                if webhooks.wants(hook, one):
                    self._take(hook.id, one)

    def tick(self) -> None:
        """Switch off what has failed for seven days. The world's lock is held."""
        if not self._failing:
            return
        now = self._world.clock.now()
        for id_, since in list(self._failing.items()):
            hook = self._world.store["webhook"].rows.get(id_)
            if hook is None:
                self._failing.pop(id_, None)
            elif now - since >= BAD_DAYS and hook.get("active"):
                why = {"active": False, "disabledReason": "Permanently disabled after failing for 7 days."}
                self._mark(hook, {**why, "disabledSince": stamp(since), "disabledUntil": None})

    def forgive(self, hook: Record) -> None:
        """Forget a subscription's failures, as any update of it does."""
        self._failing.pop(hook.id, None)

    def control(self, document: Json, *, posted: bool) -> Json:
        """Answer ``/_sim/webhooks``. Raises KeyError, TypeError or ValueError on a malformed document."""
        if posted:
            self._set({name: value for name, value in document.items() if name not in {"forge", "replay"}})
            forged = document.get("forge") or []
            for one in forged if isinstance(forged, list) else [forged]:
                self._forge(one)
            if document.get("replay"):
                self._replay(str(document["replay"]))
        with self._wake:
            pending = len(self._parcels) + self._busy
            return {**asdict(self.settings), "pending": pending, "deliveries": list(self._deliveries)}

    def _set(self, wanted: Mapping[str, Any]) -> None:
        known = {one.name for one in fields(Settings)}
        if wanted.keys() - known:
            raise ValueError(f"no setting {min(wanted.keys() - known)!r}; there are {', '.join(sorted(known))}")
        if wanted.get("unreachable") is not None and wanted["unreachable"] not in WORDS:
            raise ValueError(wanted["unreachable"])
        with self._wake:
            for name, value in wanted.items():
                setattr(self.settings, name, value)
            if "seed" in wanted:
                self._chance = random.Random(self.settings.seed)

    def _forge(self, wanted: Mapping[str, Any]) -> None:
        related = {name: None if id_ is None else (name, int(id_)) for name, id_ in wanted.get("relations", {}).items()}
        action, told = str(wanted.get("action", "updated")), dict(wanted.get("attributes", {}))
        news = News(str(wanted["type"]), int(wanted["id"]), action, told, related, {}, {})
        with self._wake:
            self._push(Parcel(time.monotonic(), 0, int(wanted["hook"]), news, mark="forged", forged=dict(wanted)))

    def _replay(self, event: str) -> None:
        with self._wake:
            found = [one for one in self._deliveries if one["event"] == event and one["body"]]
            if not found:
                raise KeyError(f"no delivery of {event}")
            letter = Letter(found[-1]["url"], found[-1]["body"].encode(), found[-1]["headers"])
            self._push(Parcel(time.monotonic(), 0, found[-1]["hook"], None, mark="replayed", letter=letter))

    def _take(self, hook: int, news: News) -> None:
        """Queue one delivery, or what chance makes of it; four numbers are drawn whatever is wanted."""
        with self._wake:
            wanted, now = self.settings, time.monotonic()
            lost, twice, behind, late = (self._chance.random() for _ in range(4))
            parcel = Parcel(now, 0, hook, news)
            if lost < wanted.lose:
                parcel.mark = "lost"
            elif late < wanted.delay:
                parcel.mark, parcel.due = "delayed", now + wanted.delay_s
            elif behind < wanted.reorder:
                parcel.mark, parcel.due = "reordered", now + wanted.reorder_s
            self._push(parcel)
            if twice < wanted.duplicate and parcel.mark != "lost":
                self._push(Parcel(now, parcel.n, hook, news, mark="duplicate"))

    def _push(self, parcel: Parcel) -> None:
        """Queue a parcel, numbering a new one, and see that somebody carries it."""
        if not parcel.n:
            self._made += 1
            parcel.n = self._made
        heapq.heappush(self._parcels, parcel)
        if len(self._threads) < min(self.settings.lanes, len(self._parcels) + self._busy):
            thread = threading.Thread(target=self._carry, name="webhooks", daemon=True)
            self._threads.add(thread)
            thread.start()
        self._wake.notify()

    def _carry(self) -> None:
        """Carry parcels until none is left."""
        while (found := self._next()) is not None:
            parcel, era = found
            again = False
            try:
                again = self._deliver(parcel, era)
            finally:
                self._settle(parcel, era, again=again)

    def _next(self) -> tuple[Parcel, object] | None:
        """Wait for the next parcel that is due; None, and this thread ends, once there is none at all."""
        with self._wake:
            while self._parcels and (wait_s := self._parcels[0].due - time.monotonic()) > 0:
                self._wake.wait(wait_s)
            if not self._parcels:
                self._threads.discard(threading.current_thread())
                return None
            self._busy += 1
            return heapq.heappop(self._parcels), self._era

    def _settle(self, parcel: Parcel, era: object, *, again: bool) -> None:
        with self._wake:
            if era is not self._era:
                return
            self._busy -= 1
            if again:
                parcel.attempt, parcel.due = parcel.attempt + 1, time.monotonic() + self.settings.retry_s
                self._push(parcel)

    def _deliver(self, parcel: Parcel, era: object) -> bool:
        """Make one attempt; returns whether another is due."""
        with self._world.lock:
            hook = self._world.store["webhook"].rows.get(parcel.hook)
            if hook is None or era is not self._era:
                return False
            letter = parcel.letter or compose(self._world, hook, parcel.n, parcel.news, parcel.forged)
            skipped = self._skipped(hook, parcel)
        if skipped is not None:
            self._told(parcel, letter, 0, skipped, era)
            return False
        status, why = 0, self.settings.unreachable
        if why is None:
            try:
                status = post(letter.url, letter.body, letter.headers, timeout_s=self.settings.timeout_s)
            except NotLoopbackError:
                why = "dns"
            except (OSError, ValueError, http.client.HTTPException) as error:
                why = "timeout" if isinstance(error, TimeoutError) else "refused"
        self._told(parcel, letter, status, why, era)
        if why in {"refused", "timeout"} and parcel.attempt < self.settings.attempts:
            return True
        with self._world.lock:
            if era is self._era and not parcel.forged:
                self._judge(hook, why)
        return False

    def _skipped(self, hook: Record, parcel: Parcel) -> str | None:
        """Return why nothing is sent at all, None where something is."""
        if parcel.mark == "lost":
            return "lost"
        if parcel.forged:
            return None
        if not hook.get("active"):
            return "inactive"
        until = hook.get("disabledUntil")
        return "suspended" if until is not None and until > self._world.now() else None

    def _judge(self, hook: Record, why: str | None) -> None:
        """Note on a subscription how a delivery ended."""
        if why is None:
            self.forgive(hook)
            if hook.get("disabledSince") is not None and hook.get("active"):
                self._mark(hook, dict.fromkeys(("disabledReason", "disabledSince", "disabledUntil")))
            return
        now = self._world.clock.now()
        since = self._failing.setdefault(hook.id, now)
        if why in SUSPENDED_S:
            until = stamp(now + timedelta(seconds=SUSPENDED_S[why]))
            told = {"disabledReason": WORDS[why], "disabledSince": stamp(since), "disabledUntil": until}
            self._mark(hook, told)
        self.tick()

    def _mark(self, hook: Record, told: Mapping[str, Any]) -> None:
        self._world.store["webhook"].change(hook, told, {})

    def _told(self, parcel: Parcel, letter: Letter, status: int, why: str | None, era: object) -> None:
        """Write an attempt into the journal and the list of deliveries."""
        delivery = {
            "hook": parcel.hook,
            "event": letter.headers.get("outreach-webhook-event-id"),
            "name": letter.name,
            "attempt": parcel.attempt,
            "mark": parcel.mark,
            "error": why,
        }
        at = self._world.clock.now().isoformat()
        with self._wake:
            if era is not self._era:
                return
            self._deliveries.append(
                {
                    **delivery,
                    "at": at,
                    "url": letter.url,
                    "status": status,
                    "headers": dict(letter.headers),
                    "body": letter.body.decode(),
                }
            )
        entry = {"at": at, "method": "WEBHOOK", "path": letter.url, "query": "", "status": status, "effect": []}
        self._journal.record({**entry, "fault": parcel.mark, "webhook": delivery})
