"""A CRM that takes long over each object is sent fewer of them at a time, until it is quick again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import httpx

from tests.remote.conftest import DATE, NOW
from worker.core import records
from worker.remote.workbooks import Applied, Uncertain, Write

if TYPE_CHECKING:
    from tests.remote.conftest import Vendor

PERSON = records.Kind.PERSON


@dataclass
class Slow:
    """A vendor who takes so many seconds over each object of a write, by the clock of its client."""

    vendor: Vendor
    seconds: float
    carried: list[int] = field(default_factory=list)
    clock: float = 0.0

    def __post_init__(self) -> None:
        self.vendor.workbooks.client.now = lambda: NOW + timedelta(seconds=self.clock)
        self.vendor.says(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        ids = [int(value) for name, value in parse_qsl(request.content.decode()) if name == "id[]"]
        self.carried.append(len(ids))
        self.clock += self.seconds * len(ids)
        document = {"success": True, "affected_objects": [{"id": one, "lock_version": 2} for one in ids]}
        headers = {"content-type": "application/json", "date": DATE}
        return httpx.Response(200, headers=headers, content=json.dumps(document).encode())

    def write(self) -> None:
        """Write as many objects as the client says are well sent at once."""
        crm = self.vendor.workbooks
        writes = [Write(one, 1, {"person_first_name": "Ann"}) for one in range(1, crm.at_once + 1)]
        assert all(isinstance(one, Applied) for one in crm.write(PERSON, writes, reference_field="cf_reference"))


def test_requests_follow_the_pace_of_the_crm(vendor: Vendor) -> None:
    """At 0.25 s an object a hundred take 25 s, fifty 12.5 s, 25 6.25 s: that will do; at 0.01 s it is a hundred again."""
    slow = Slow(vendor, 0.25)
    for _ in range(4):
        slow.write()
    slow.seconds = 0.01
    for _ in range(4):
        slow.write()
    assert slow.carried == [100, 50, 25, 25, 25, 50, 100, 100]


def test_what_was_waited_for_in_vain_counts(vendor: Vendor) -> None:
    """A request that is given up after a minute halves the next one; nobody knows what became of it."""
    slow = Slow(vendor, 0.0)

    def late(_: httpx.Request) -> Exception:
        slow.clock += 60
        return httpx.ReadTimeout("too long")

    vendor.says(late)
    crm = vendor.workbooks
    (outcome,) = crm.write(PERSON, [Write(1, 1, {"person_first_name": "Ann"})], reference_field="cf_reference")
    assert isinstance(outcome, Uncertain)
    assert crm.at_once == 50


def test_an_answer_that_does_nothing_shows_nothing(vendor: Vendor) -> None:
    """A CRM that turns a request away at once is not quick for that."""
    slow = Slow(vendor, 0.25)
    slow.write()
    vendor.says(httpx.Response(500, headers={"date": DATE}, content=b"broken"))
    crm = vendor.workbooks
    writes = [Write(one, 1, {"person_first_name": "Ann"}) for one in range(1, 51)]
    crm.write(PERSON, writes, reference_field="cf_reference")
    assert crm.at_once == 50
