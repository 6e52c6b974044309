"""What a deployment tells of itself: beat, workers and calls, seen from a web that does none of it."""

from __future__ import annotations

import re
import time
import urllib.request

import pytest

from tests.celery.rig import Rig

pytestmark = [pytest.mark.broker, pytest.mark.processes, pytest.mark.timeout(150)]


def test_a_web_tells_what_the_others_do(rig: Rig) -> None:
    """Beat and each served queue tick; polls, writes and calls of the workers are counted where only the web is asked."""
    rig.prospect(1, 1)
    rig.environ["OUTBOOK_COMMIT"] = "0123456789abcdef"
    web = rig.start("web")
    rig.worker("--concurrency", "1")
    rig.start("beat")
    rig.wait_for(lambda: web.said("listening on "))
    (url,) = re.findall(r"listening on (\S+)", web.log.read_text())
    wanted = (
        r'outbook_build_info\{commit="0123456789ab",version="[^"]+"\} 1\.0',
        r'outbook_tick_age_seconds\{who="beat"\} \d',
        r'outbook_tick_age_seconds\{who="optout"\} \d',
        r'outbook_tick_age_seconds\{who="poll"\} \d',
        r'outbook_records_read_total\{stream="prospects"\} [1-9]',
        r'outbook_writes_total\{action="create",system="workbooks"\} 1\.0',
        r'outbook_calls_answered_total\{operation="read",outcome="ok",system="outreach"\} [1-9]',
        r'outbook_calls_answered_total\{operation="write",outcome="ok",system="workbooks"\} [1-9]',
        r'outbook_call_seconds_bucket\{le="\+Inf",operation="write",system="workbooks"\} [1-9]',
        r'outbook_calls_total\{lane="polls",system="outreach"\} [1-9]',
        r"outbook_linked_people 1\.0",
        r"outbook_no_progress 0\.0",
    )
    missing: list[str] = []

    def complete() -> bool:
        time.sleep(0.5)
        told = urllib.request.urlopen(f"{url}/metrics", timeout=90).read().decode()
        missing[:] = [one for one in wanted if not re.search(f"^{one}", told, re.MULTILINE)]
        return not missing

    rig.wait_for(lambda: rig.label(1) is not None)
    rig.wait_for(complete)
    assert missing == []
