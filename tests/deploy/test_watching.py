"""The dashboard and the rules name only what a scrape really shows, and every alert is told of in the runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from tests.web import busy
from worker import config
from worker.core import alerts
from worker.store import database, tables
from worker.web import app
from worker.web.wire import Request

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES: list[dict[str, Any]] = YAML(typ="safe").load(DEPLOY / "alerts.yaml")["groups"][0]["rules"]
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "outbook.json").read_text(encoding="utf-8"))
TARGETS: list[dict[str, str]] = [target for panel in BOARD["panels"] for target in panel.get("targets", ())]
OUTSIDE = {"OutbookWebDown", "OutbookStoreUnreachable"}
"""What only somebody outside can tell."""
SELECTOR = re.compile(r"(outbook_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GIVEN_BY_PROMETHEUS = {"instance", "le"}

Series = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """The labels of every sample in a scrape of a store with work of every kind, by metric."""
    directory = tmp_path_factory.mktemp("watching")
    store = database.connect(f"sqlite:///{directory / 'store.db'}")
    tables.metadata.create_all(store.engine)
    busy.fill(store)
    settings = config.load({"OUTBOOK_WORKBOOKS__API_KEY_EXPIRES": "2026-12-01"}, directory, credentials=False)
    with app.application(settings, store, lambda: busy.NOW) as pages:
        answer = pages._table["GET", "/metrics"](Request("GET", "/metrics", "", {}))
    store.engine.dispose()
    found: Series = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def _queries() -> Iterator[tuple[str, str]]:
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)
    yield from ((target["expr"], target["expr"]) for target in TARGETS)


@pytest.mark.parametrize("query", [expr for _, expr in _queries()], ids=[name for name, _ in _queries()])
def test_a_query_names_what_a_scrape_shows(query: str, series: Series) -> None:
    """Every metric is there, with every label that the query matches, sums by or shows, and every value it asks for."""
    selectors = SELECTOR.findall(query)
    assert selectors
    known: set[str] = set(GIVEN_BY_PROMETHEUS)
    for metric, matchers in selectors:
        assert metric in series, metric
        labels = {name for sample in series[metric] for name in sample}
        known |= labels
        for name, how, wanted in MATCHER.findall(matchers):
            assert name in labels, (metric, name)
            values = {sample[name] for sample in series[metric]}
            assert set(wanted.split("|") if "~" in how else [wanted]) <= values, (metric, name, wanted)
    by = {name.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for name in group.split(",")}
    assert by <= known


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"])
def test_a_legend_shows_labels_that_are_left(target: dict[str, str]) -> None:
    """What a legend names is what the query keeps apart."""
    shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    kept = {
        name.strip() for group in re.findall(r"^[^(]*\w+ by \(([^)]*)\)", target["expr"]) for name in group.split(",")
    }
    inner = {name.strip() for group in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for name in group.split(",")}
    assert shown <= (kept or inner)


def test_every_metric_is_looked_at_somewhere(series: Series) -> None:
    """What neither a panel nor a rule shows is listed here, so that a new metric is thought of."""
    named = {metric for _, query in _queries() for metric, _ in SELECTOR.findall(query)}
    histogram = {"outbook_call_seconds_count", "outbook_call_seconds_sum", "outbook_call_seconds_created"}
    by_hand = {"outbook_freshness_writes", "outbook_held_records", "outbook_stream_primed", "outbook_stream_trouble"}
    created = {name for name in series if name.endswith("_created")}
    assert set(series) - named - histogram - created == by_hand | {"outbook_webhook_age_seconds"}


def test_the_rules_are_the_alerts_that_outbook_tells_itself() -> None:
    """The same names and severities, and two more that only somebody outside can tell."""
    told = {rule["alert"]: rule["labels"]["severity"] for rule in RULES}
    assert {name: its for name, its in told.items() if name not in OUTSIDE} == {
        one.name: one.severity for one in alerts.ALERTS
    }
    assert set(told) - {one.name for one in alerts.ALERTS} == OUTSIDE
    assert len(told) == len(RULES)


def test_the_rules_and_the_code_have_the_same_limits() -> None:
    """Quarter of an hour, five minutes, three days, two weeks, a day: nobody is told at two different times."""
    by_name = {rule["alert"]: rule for rule in RULES}
    assert f"> {alerts.OPT_OUT_S:.0f}" in by_name["OutbookOptOutLate"]["expr"]
    assert by_name["OutbookWorkersDown"]["expr"].count(f"{alerts.SILENT_S:.0f}") == 2
    assert f'who=~"{"|".join(sorted(alerts.RUNG))}"' in by_name["OutbookWorkersDown"]["expr"]
    assert f"< {alerts.TOKEN_DAYS:.0f} * 86400" in by_name["OutbookAuthorisationDue"]["expr"]
    assert f"< {alerts.KEY_DAYS + 1} * 86400" in by_name["OutbookKeyExpiring"]["expr"]
    patient = {one.name: f"{one.patience.total_seconds() / 3600:.0f}h" for one in alerts.ALERTS if one.patience}
    assert {name: by_name[name]["for"] for name in patient} == patient


def test_every_alert_leads_to_the_runbook() -> None:
    """Each rule, and each alert of Outbook's own, points to a heading that is there."""
    text = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
    headings = {f"deploy/runbook.md#{line[3:].strip().lower()}" for line in text.splitlines() if line.startswith("## ")}
    assert {rule["annotations"]["runbook_url"] for rule in RULES} <= headings
    assert {one.runbook for one in alerts.ALERTS} <= headings
    assert all(set(rule["annotations"]) == {"summary", "description", "runbook_url"} for rule in RULES)


def test_the_dashboard_can_be_loaded() -> None:
    """Panels have ids of their own, a place that overlaps no other, and the data source that is chosen."""
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not places & mine, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= mine
    assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} == {"${datasource}"}
