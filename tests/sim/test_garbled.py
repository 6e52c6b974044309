"""Answers that are nonsense: what was asked is done, and nobody learns it from what comes."""

from __future__ import annotations

import httpx
import pytest

from worker.sim import control, outreach

LIST = "/api/v2/prospects"


def answer(how: str) -> tuple[httpx.Response | None, int]:
    """Return what comes of a list whose answer is garbled so, None if no client can read it; and how many calls were noted."""
    app = outreach.build(records=1)
    with control.running(app) as url, httpx.Client(base_url=url, timeout=90) as client:
        client.post("/_sim/faults", json=[{"kind": "garbled", "times": 1, "args": {"how": how}}])
        try:
            told = client.get(LIST, headers={"Authorization": "Bearer sim-access"})
        except (httpx.DecodingError, httpx.RemoteProtocolError):
            told = None
        return told, len([one for one in app.journal.entries() if one["fault"] == "garbled" and one["status"] == 200])


@pytest.mark.parametrize("how", ["gzip", "length"])
def test_what_no_client_can_read(how: str) -> None:
    """Bytes that are not packed as they say, and fewer than promised."""
    assert answer(how) == (None, 1)


@pytest.mark.parametrize(
    "how, begins, size",
    [
        ("html", b"<!DOCTYPE", 103),
        ("nan", b'{"success": NaN', 68),
        ("deep", b"[[[[", 400_000),
        ("huge", b'{"padding": "xx', 50 * 2**20 + 15),
    ],
)
def test_what_is_no_answer(how: str, begins: bytes, size: int) -> None:
    """A page for people, numbers that are none, brackets without end, fifty megabytes; all with 200."""
    told, noted = answer(how)
    assert told is not None
    assert (told.status_code, told.content.startswith(begins), len(told.content), noted) == (200, True, size, 1)


def test_json_that_is_none() -> None:
    """A bracket too many."""
    told, _ = answer("json")
    assert told is not None
    with pytest.raises(ValueError, match=r"Expecting|Extra"):
        told.json()
