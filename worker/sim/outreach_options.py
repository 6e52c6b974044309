"""What can be set about the simulated Outreach before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Options:
    """How the simulated organisation behaves where the vendor's documents leave a choice, or where a test wants one.

    ``scopes`` None grants everything; ``token_scopes`` narrows single bearer tokens. ``retry_after`` is the form of
    that header on a 429: ``epoch``, ``seconds``, ``iso``, ``http_date``, or ``none``. ``activate_after_s`` lets a
    pending state become active by itself. ``exclusive_sequences`` refuse whoever is active in another one.
    ``organisation`` is the id that ``GET /api/v2`` tells, ``index_lag`` the seconds by which lists lag behind writes.
    ``states_per_prospect`` None puts about 80 % of the prospects into one sequence, 12 % into two, 8 % into none.
    """

    client_id: str = "sim-client"
    client_secret: str = "sim-secret"  # noqa: S105 - the simulator's own, known to everybody
    refresh_token: str = "sim-refresh"  # noqa: S105
    access_tokens: frozenset[str] = frozenset({"sim-access"})
    access_s: int = 7_200
    refresh_s: int = 14 * 86_400
    strict_refresh: bool = False
    mint_throttle: bool = False
    scopes: frozenset[str] | None = None
    token_scopes: Mapping[str, frozenset[str]] = field(default_factory=dict)

    hourly_calls: int | None = 10_000
    second_quota: bool = False
    retry_after: str = "epoch"
    latency_ms: float = 0.0

    page_cap: int = 1_000
    count_default: bool = False
    strict_content_type: bool = False

    granular_opt_out: bool = False
    opt_out_state: str = "finished"
    permit_duplicates: bool = False
    exclusive_sequences: frozenset[int] = frozenset()
    excluded_emails: frozenset[str] = frozenset()
    activate_after_s: float | None = None
    enable_touches: bool = True
    states_per_prospect: int | None = None
    organisation: str | None = None
    index_lag: float = 0.0
