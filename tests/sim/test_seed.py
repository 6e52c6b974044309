from __future__ import annotations

import subprocess
import sys

import pytest

from worker.sim import seed


def test_the_same_seed_tells_of_the_same_person_in_another_process() -> None:
    """Two simulators that never talk agree on who exists."""
    script = "from worker.sim import seed; print(seed.someone('demo', 17).email)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=90)
    assert told.stdout.strip() == seed.someone("demo", 17).email


def test_another_seed_tells_of_other_people() -> None:
    """A seed's name is part of who everyone is."""
    assert seed.someone("demo", 1) != seed.someone("other", 1)


def test_of_a_hundred_sixty_thirty_and_ten_stand_where_they_should() -> None:
    """60 % are only in Outreach, 30 % in both, 10 % only in the CRM."""
    people = list(seed.everyone("demo", 100))
    assert sum(one.in_outreach and not one.in_crm for one in people) == 60
    assert sum(one.in_outreach and one.in_crm for one in people) == 30
    assert sum(one.in_crm and not one.in_outreach for one in people) == 10


def test_shares_of_opt_outs_are_about_what_is_said() -> None:
    """About 3 % of Outreach's people are opted out, about 2 % of the CRM's have No Email, nobody anywhere else."""
    people = list(seed.everyone("shares", 5000))
    assert 90 <= sum(one.opted_out for one in people) <= 190
    assert 20 <= sum(one.no_email for one in people) <= 65
    assert not any(one.opted_out and not one.in_outreach for one in people)
    assert not any(one.no_email and not one.in_crm for one in people)


def test_no_address_is_anybody_elses() -> None:
    """Every address, main or alternate, belongs to one person and ends in .example."""
    people = list(seed.everyone("demo", 3000))
    addresses = [one.email for one in people] + [one.alternate_email for one in people if one.alternate_email]
    assert len(addresses) == len({address.lower() for address in addresses})
    assert all(address.endswith(".example") for address in addresses)
    assert len(addresses) > 3000


def test_people_are_counted_from_one() -> None:
    """There is no person 0."""
    with pytest.raises(ValueError, match="counted from 1"):
        seed.someone("demo", 0)
