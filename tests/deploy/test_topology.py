from __future__ import annotations

import configparser
import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
from ruamel.yaml import YAML

from tests.celery.rig import Process, Rig, wait_for
from worker import app, config
from worker.cli import app as front_door

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
OURS = {name: one for name, one in COMPOSE.items() if str(one["image"]).startswith("outbook:")}
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes" / "base").glob("*.yaml"))
RECORDS = 1000
SELECTOR = re.compile(r"outbook_\w+")
NOT_YET = {
    "outbook_key_left_seconds",
    "outbook_webhooks_total",
    "outbook_freshness_seconds",
    "outbook_budget_pace_calls",
    "outbook_round_age_seconds",
}
"""Shown where the settings tell a key's day; once a webhook came, an edit travelled, calls made a pace, a slow round ended."""
ELSEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
"""What a library of ours reads."""


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every container of the Kubernetes manifests, by the name of its file."""
    for path in MANIFESTS:
        for one in YAML(typ="safe").load_all(path):
            template = (one.get("spec") or {}).get("template") or {}
            for container in (template.get("spec") or {}).get("containers", ()):
                yield path.name, container


def unit(path: Path) -> configparser.ConfigParser:
    """Return a systemd unit."""
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(path, encoding="utf-8")
    return read


def commands() -> Iterator[tuple[str, list[str]]]:
    """Return what every service, unit and pod runs, by its name."""
    yield from ((f"compose {name}", one["command"]) for name, one in OURS.items())
    yield from ((f"kubernetes {name}", one["args"]) for name, one in pods())
    for path in UNITS:
        program, *arguments = unit(path)["Service"]["ExecStart"].split()
        assert program == "/opt/outbook/bin/outbook"
        yield f"systemd {path.stem}", arguments


@pytest.mark.parametrize("arguments", [told for _, told in commands()], ids=[name for name, _ in commands()])
def test_what_is_run_is_a_command(arguments: list[str]) -> None:
    """Each is a verb of `outbook` that takes these options."""
    command: Any = typer.main.get_command(front_door.app)
    left = list(arguments)
    while hasattr(command, "get_command"):
        command = command.get_command(None, left.pop(0))
    context = click.Context(command) if isinstance(command, click.Command) else command.context_class(command)
    assert command.parse_args(context, left) == []


def test_every_setting_is_one() -> None:
    """No variable in compose, Kubernetes or their examples is misspelt."""
    secrets = {f"{name}_FILE" for name, (_path, secret) in config.VARIABLES.items() if secret}
    known = {*config.VARIABLES, *secrets, *ELSEWHERE}
    named = {name for one in OURS.values() for name in one.get("environment", {})}
    named |= {one["name"] for _, pod in pods() for one in pod.get("env", ())}
    for path in (ROOT / "deploy" / "kubernetes").rglob("*.env*"):
        named |= {line.partition("=")[0] for line in path.read_text(encoding="utf-8").splitlines()}
    assert len(named) > 20
    assert named - known == set()


def test_what_confines_writes_reaches_every_live_role() -> None:
    """Put beside the compose file in `.env` it must not be lost on the way: a pilot would write to everybody."""
    for name, one in OURS.items():
        if one["profiles"] == ["live"]:
            given = one["environment"]
            assert given["OUTBOOK_WRITES"] == "${OUTBOOK_WRITES:-all}", name
            assert given["OUTBOOK_ONLY"] == "${OUTBOOK_ONLY:-}", name


def test_compose_runs_the_same_roles_simulated_and_live() -> None:
    """The demo is the production topology: each live role has its simulated twin, and none lacks a restart or a limit."""
    roles = {"migrate", "worker", "poll", "optout", "beat", "web"}
    assert roles | {f"sim-{role}" for role in roles} | {"sim-outreach", "sim-workbooks"} == set(OURS)
    for name, one in COMPOSE.items():
        assert one["restart"] in {"unless-stopped", "on-failure"}, name
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert "limits" in one["deploy"]["resources"], name
        assert int(one["stop_grace_period"].removesuffix("s")) >= 60, name
        assert one["profiles"] in (["live"], ["sim"]), name


def test_health_looks_at_what_a_process_touches() -> None:
    """Image and pods look at the file that workers and beat touch as they get on; web and simulators are asked."""
    files = [ROOT / "deploy" / "Dockerfile", ROOT / "docker-compose.yml", *MANIFESTS]
    looked_at = {name for path in files for name in re.findall(r"/tmp/outbook-\w+", path.read_text(encoding="utf-8"))}
    assert looked_at == {f"/tmp/{app.ALIVE.name}"}
    own = {name for name, one in OURS.items() if "healthcheck" in one}
    assert own == {"migrate", "web", "sim-migrate", "sim-web", "sim-outreach", "sim-workbooks"}


def scraped(process: Process) -> dict[str, float]:
    """Return the samples of a web's metrics page that have no labels, and how many samples each name has."""
    url = next(line.split()[-1] for line in process.log.read_text().splitlines() if "listening on" in line)
    with urllib.request.urlopen(f"{url}/metrics", timeout=90) as answer:  # loopback
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_the_topology_of_compose_runs(rig: Rig, postgres_url: str) -> None:
    """The simulated profile's own commands on real servers: a thousand records go through, each process dies once."""
    broker = rig.environ["OUTBOOK_BROKER_URL"]
    outreach, crm = (rig.start(*ported(f"sim-{name}")) for name in ("outreach", "workbooks"))
    rig.wait_for(lambda: outreach.said("listening on") and crm.said("listening on"))
    moved = {
        "OUTBOOK_DATABASE_URL": postgres_url,
        "OUTBOOK_BROKER_URL": broker,
        "OUTBOOK_OUTREACH__BASE_URL": address(outreach),
        "OUTBOOK_WORKBOOKS__BASE_URL": address(crm),
        "OUTBOOK_POLL_SECONDS": "1",
        "OUTBOOK_CONSOLE__HOST": "127.0.0.1",  # no test listens beyond loopback
        "OUTBOOK_CONSOLE__PORT": "0",
        "OUTBOOK_DATA_DIR": str(rig.directory / "data"),
    }

    def start(role: str) -> Process:
        rig.environ = {name: str(value) for name, value in COMPOSE[f"sim-{role}"]["environment"].items()} | moved
        return rig.start(*COMPOSE[f"sim-{role}"]["command"])

    assert start("migrate").popen.wait(60) == 0
    roles = {role: start(role) for role in ("worker", "poll", "optout", "beat", "web")}
    for role in ("worker", "poll", "optout", "beat"):  # in the middle of the first load
        wait_for(lambda: linked(crm) > 0, within_s=90, words=rig.words)
        os.killpg(roles[role].pid, signal.SIGKILL)
        roles[role].popen.wait(60)
        roles[role] = start(role)
    assert linked(crm) < in_sequence(outreach), "everything had arrived before the last of them was killed"
    os.killpg(roles["web"].pid, signal.SIGKILL)
    roles["web"].popen.wait(60)
    roles["web"] = start("web")
    rig.wait_for(lambda: roles["web"].said("listening on"))

    wanted = in_sequence(outreach)
    assert wanted > RECORDS // 4

    def settled() -> bool:
        told = scraped(roles["web"])
        return told['outbook_changes{standing="due"}'] == 0 and linked(crm) >= wanted

    def told_so_far() -> str:
        changes = {name: count for name, count in scraped(roles["web"]).items() if name.startswith("outbook_changes")}
        return f"{linked(crm)} of {wanted} people, {changes}\n{rig.words()}"

    wait_for(settled, within_s=150, words=told_so_far)
    references = bearers(crm)
    assert len(references) == len(set(references))
    told = scraped(roles["web"])
    assert told["outbook_store_reachable"] == 1
    assert told["outbook_linked_people"] >= wanted
    asked = {metric for query in queries() for metric in SELECTOR.findall(query)}

    def missing() -> set[str]:
        return asked - {name.partition("{")[0] for name in scraped(roles["web"])} - NOT_YET

    # A worker writes down what it has counted every few seconds; whoever did the last of the work may not have yet.
    wait_for(lambda: not missing(), within_s=60, words=lambda: str(missing()))
    assert {role: process.popen.poll() for role, process in roles.items()} == dict.fromkeys(roles)
    for process in roles.values():
        assert process.stop() < 75


def queries() -> Iterator[str]:
    """Return what the rules and the dashboard ask for."""
    for rule in YAML(typ="safe").load(ROOT / "deploy" / "alerts.yaml")["groups"][0]["rules"]:
        yield rule["expr"]
    board = json.loads((ROOT / "deploy" / "grafana" / "outbook.json").read_text(encoding="utf-8"))
    yield from (target["expr"] for panel in board["panels"] for target in panel.get("targets", ()))


def ported(service: str) -> list[str]:
    """Return a simulator's command on a free port, with as many records as the test wants."""
    arguments = list(COMPOSE[service]["command"])
    arguments[arguments.index("--port") + 1] = "0"
    arguments[arguments.index("--records") + 1] = str(RECORDS)
    return arguments


def address(process: Process) -> str:
    """Return where a process says that it listens."""
    return next(line.split()[-1] for line in process.log.read_text().splitlines() if "listening on" in line)


def bearers(crm: Process) -> list[str]:
    """Return the Outreach id of every living person that has one, from the simulator's own state."""
    with urllib.request.urlopen(f"{address(crm)}/_sim/state", timeout=90) as answer:  # loopback
        people = json.load(answer)["people"]
    rows = people.values() if isinstance(people, dict) else people
    found = [one.get("cf_person_outreach_id") for one in rows if not one.get("is_deleted")]
    return [str(one) for one in found if one]


def in_sequence(outreach: Process) -> int:
    """Return how many prospects with an address are in a sequence: they must be in the CRM, as well as whom it knew."""
    with urllib.request.urlopen(f"{address(outreach)}/_sim/state", timeout=90) as answer:  # loopback
        state = json.load(answer)
    enrolled = {str(one["relations"]["prospect"]) for one in state["sequenceState"].values()}
    return sum(bool(state["prospect"][one]["attributes"]["emails"]) for one in enrolled)


def linked(crm: Process) -> int:
    """Return how many people bear an Outreach id."""
    return len(bearers(crm))
