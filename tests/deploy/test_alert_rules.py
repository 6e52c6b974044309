"""Prometheus' own evaluation of the alert rules: each fires when it should and is silent when it should not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES, CASES = DEPLOY / "alerts.yaml", DEPLOY / "alerts.test.yaml"
PROMTOOL = shutil.which("promtool")
asked = pytest.mark.skipif(PROMTOOL is None, reason="promtool, which comes with Prometheus, is not installed here")


def promtool(*arguments: str) -> tuple[int, str]:
    """Return how a command of promtool ended and what it said."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=90)
    return done.returncode, done.stdout + done.stderr


def names() -> list[str]:
    """Return the alerts that the rules tell of."""
    return [rule["alert"] for rule in YAML(typ="safe").load(RULES)["groups"][0]["rules"]]


def test_every_rule_has_a_moment_of_alarm_and_one_of_silence() -> None:
    """No rule is without a case, and no case is about a rule that is not there."""
    found: dict[str, set[bool]] = {}
    told: dict[str, Any] = YAML(typ="safe").load(CASES)
    for case in told["tests"]:
        for moment in case["alert_rule_test"]:
            found.setdefault(moment["alertname"], set()).add(bool(moment["exp_alerts"]))
    assert found == {name: {True, False} for name in names()}


@asked
def test_the_rules_are_prometheus_rules() -> None:
    """Prometheus' own checker reads every one of them."""
    code, words = promtool("check", "rules", str(RULES))
    assert (code, f"{len(names())} rules found" in words) == (0, True), words


@asked
def test_the_rules_do_as_the_cases_say() -> None:
    """Evaluated by Prometheus' own engine, on series made up by hand: names, labels, sentences and moments."""
    code, words = promtool("test", "rules", str(CASES))
    assert code == 0, words


@asked
def test_a_rule_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """One second more of patience with an opt-out, and the cases fail."""
    text = RULES.read_text(encoding="utf-8")
    assert text.count("> 900") == 1
    (tmp_path / RULES.name).write_text(text.replace("> 900", "> 901"), encoding="utf-8")
    shutil.copy(CASES, tmp_path)
    code, words = promtool("test", "rules", str(tmp_path / CASES.name))
    assert (code != 0, "OutbookOptOutLate" in words) == (True, True), words
