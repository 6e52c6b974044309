"""Who exists in a seeded world: both simulators agree on it without talking to each other.

Everything about person ``n`` follows from the seed's name and ``n`` alone, so two processes, on two machines, tell the
same story. Names are made of syllables and mean nobody; addresses end in ``.example``, which RFC 2606 keeps from use.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST = ("Al", "Be", "Cor", "Da", "El", "Fa", "Gre", "Ha", "Io", "Ju", "Ka", "Li", "Mo", "Ne", "Or", "Pe")
_FIRST_END = ("dan", "lia", "mir", "nora", "ris", "sten", "tea", "vin")
_LAST = ("Ash", "Bren", "Cald", "Dun", "Ever", "Fen", "Gar", "Hol", "Ing", "Ket", "Lang", "Mar", "Nor", "Ost", "Rad")
_LAST_END = ("brook", "combe", "dale", "field", "gate", "ham", "ley", "more", "ridge", "sby", "stone", "ton", "wick")
_HOSTS = ("amberline", "bluefen", "copperleaf", "driftwood", "eastmere", "foxglove", "greyharbour", "hollowoak")
_TITLES = ("Head of Sales", "Buyer", "Finance Director", "Operations Manager", "Engineer", "Analyst", "Planner", "")
_OUTREACH_ONLY = frozenset({0, 1, 2, 3, 4, 5})
_CRM_ONLY = 9
_CYCLE = 10


@dataclass(frozen=True, slots=True)
class Someone:
    """One invented person, and on which sides of the seeded world they stand.

    ``n`` counts from 1. ``alternate_email`` is a second address of the same person, or None. ``opted_out`` is what
    Outreach holds about them, ``no_email`` what the CRM holds; each is False where the person is not on that side.
    Phones are fictional numbers of the range Ofcom keeps for drama; a blank title is ``""``.
    """

    n: int
    first_name: str
    last_name: str
    title: str
    email: str
    alternate_email: str | None
    work_phone: str
    mobile_phone: str
    in_outreach: bool
    in_crm: bool
    opted_out: bool
    no_email: bool


def someone(seed: str, n: int) -> Someone:
    """Tell who person ``n`` (from 1) of the world ``seed`` is; the same answer everywhere and always.

    Of every ten in a row six are only in Outreach, three in both systems under the same address, one only in the CRM.
    About 3 % of those in Outreach are opted out there and about 2 % of those in the CRM have No Email.
    """
    if n < 1:
        raise ValueError(f"people are counted from 1, not {n}")
    dice = hashlib.blake2b(f"{seed}\x00{n}".encode(), digest_size=16).digest()
    turn = hashlib.blake2b(seed.encode(), digest_size=1).digest()[0]
    place = (n * 7 + turn) % _CYCLE
    in_outreach = place != _CRM_ONLY
    in_crm = place not in _OUTREACH_ONLY
    first = _FIRST[dice[0] % len(_FIRST)] + _FIRST_END[dice[1] % len(_FIRST_END)]
    last = _LAST[dice[2] % len(_LAST)] + _LAST_END[dice[3] % len(_LAST_END)]
    host = _HOSTS[dice[4] % len(_HOSTS)]
    digits = f"{int.from_bytes(dice[8:11]) % 10**6:06d}"
    return Someone(
        n=n,
        first_name=first,
        last_name=last,
        title=_TITLES[dice[5] % len(_TITLES)],
        email=f"{first}.{last}.{n}@{host}.example".lower(),
        alternate_email=f"{first}-{n}@private-{host}.example".lower() if dice[6] % 8 == 0 else None,
        work_phone=f"+44 20 7946 {digits[:4]}",
        mobile_phone=f"+44 7700 90{digits[2:]}",
        in_outreach=in_outreach,
        in_crm=in_crm,
        opted_out=in_outreach and dice[7] % 33 == 0,
        no_email=in_crm and dice[11] % 50 == 0,
    )


def everyone(seed: str, records: int) -> Iterator[Someone]:
    """Yield persons 1 to ``records`` of the world ``seed``, in order; those of either side alone are among them."""
    for n in range(1, records + 1):
        yield someone(seed, n)
