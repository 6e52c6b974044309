from __future__ import annotations

import pytest

from worker.remote import quoting


@pytest.mark.parametrize(
    "words, hide, safe",
    [
        ("invalid token_bearer-one!", "bearer-one", "invalid token_[hidden]!"),
        ("key9bearer-one9", "bearer-one", "key9[hidden]9"),
        ("AdaLovelace1815 is taken", "Lovelace", "Ada[hidden]1815 is taken"),
        ("ann1980 is taken, Annex is free", "Ann", "[hidden]1980 is taken, Annex is free"),
        ("Bo is taken, bo and BO too", "Bo", "[hidden] is taken, bo and BO too"),
        ("at most 10 letters", "10", "at most 10 letters"),
        ("a is taken", "a", "a is taken"),
        ("李娜は不正です", "李娜", "[hidden]は不正です"),
        ("Zoe\u0308 is taken", "Zoë", "[hidden] is taken"),
        ("Zoë is taken", "Zoe\u0308", "[hidden] is taken"),
        ("O&#39;Hara is taken", "O'Hara", "[hidden] is taken"),
        (r"O\u0027Hara is taken", "O'Hara", "[hidden] is taken"),
        ("/find?q=Ann%20Lee", "Ann Lee", "/find?q=[hidden]"),
        ("/find?q=Ann+Lee", "Ann Lee", "/find?q=[hidden]"),
    ],
)
def test_what_is_known_is_hidden_however_it_is_spelt(words: str, hide: str, safe: str) -> None:
    """Glued to digits and underscores, decomposed, as an entity, in a URL, in JSON; a short one never inside a word."""
    assert quoting.say(words, [hide]) == safe


@pytest.mark.parametrize(
    "words, safe",
    [
        ("ann.lee%40x.example is taken", "[address] is taken"),
        ("ann.lee&#64;x.example is taken", "[address] is taken"),
        ("ann.lee＠x.example is taken", "[address] is taken"),
        ('"ann lee"@x.example is taken', "[address] is taken"),
        ("tel%3A%2B44 20 7946 0777 is taken, +44 20 7946 0777 too", "tel:[number] is taken, [number] too"),
        ("100%25 of 5%20 is &lt;odd&gt;", "100%25 of 5%20 is &lt;odd&gt;"),
    ],
)
def test_addresses_and_numbers_are_hidden_however_they_are_spelt(words: str, safe: str) -> None:
    """What escapes hide nothing is told as the vendor wrote it."""
    assert quoting.say(words) == safe
