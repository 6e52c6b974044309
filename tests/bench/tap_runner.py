"""Run singer's tap-outreach in its own environment against another address than the vendor's: ``URL`` and its own options.

It has no setting for that: the base URL is a constant of its client, the address of tokens a literal.
"""

from __future__ import annotations

import sys
from typing import Any

import requests
import tap_outreach  # type: ignore[import-not-found]
from tap_outreach.client import OutreachClient  # type: ignore[import-not-found]

VENDOR = "https://api.outreach.io"


def main(url: str) -> int:
    """Let the tap do its work."""
    OutreachClient.BASE_URL = f"{url}/api/v2/"
    send = requests.Session.request

    def sent(session: Any, method: str, url_asked: str = "", **how: Any) -> Any:  # noqa: ANN401 - the library's own
        asked = how.pop("url", url_asked)
        return send(session, method, asked.replace(VENDOR, url), **how)

    requests.Session.request = sent  # type: ignore[method-assign, assignment]
    return int(tap_outreach.main() or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv.pop(1)))
