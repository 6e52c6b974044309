"""The programs that ours is compared with: each in an environment of its own, out of the package index, never out of here.

The environments are kept in ``.bench`` and made once. Where one cannot be made, it is left out and says why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.site import ROOT

CACHE = ROOT / ".bench" / "peers"
HERE = Path(__file__).parent
PAGE = 1000
INSTALL_S = 300.0
SINCE = "2000-01-01T00:00:00Z"
MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeftOut(Exception):
    """A rival cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One such program.

    ``prepare(bin, place, url, streams)`` sets a run up and returns its command. ``read(out)`` tells how many records the run
    has brought. ``keep(out, place)`` keeps what the next run begins with.
    """

    name: str
    requirement: str
    prepare: Callable[[Path, Path, str, tuple[str, ...]], list[str]]
    read: Callable[[Path], int]
    keep: Callable[[Path, Path], None]


def environment(rival: Rival) -> Path:
    """Return the directory of a rival's programs; made where it is not there yet. LeftOut where that does not go."""
    place = CACHE / rival.name
    stamp = place / "installed"
    if stamp.exists() and stamp.read_text() == rival.requirement:
        return place / "bin"
    sys.stderr.write(f"bench: installing {rival.requirement} into .bench, once ...\n")
    _made([sys.executable, "-m", "venv", "--clear", str(place)])
    _made([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", rival.requirement])
    stamp.write_text(rival.requirement)
    return place / "bin"


def _made(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise LeftOut(f"not installed within {INSTALL_S:.0f} s") from None
    except OSError as error:
        raise LeftOut(f"no environment: {error.strerror}") from None
    if done.returncode:
        errors = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("ERROR")]
        raise LeftOut(f"not installed: {errors[-1] if errors else 'see pip'}")


def surroundings(place: Path) -> dict[str, str]:
    """Return what a rival's process gets to know: nothing of this machine's settings, and nobody to report to."""
    return {
        "PATH": os.defpath,
        "HOME": str(place),
        "LANG": "C.UTF-8",
        "DLT_DATA_DIR": str(place / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


def _tap(binaries: Path, place: Path, url: str, streams: tuple[str, ...]) -> list[str]:
    told = {"start_date": SINCE, "client_id": "sim-client", "client_secret": "sim-secret", "page_size": PAGE}
    told |= {"redirect_uri": "http://localhost/", "refresh_token": "sim-refresh"}
    config, catalog, state = (place / name for name in ("config.json", "catalog.json", "state.json"))
    config.write_text(json.dumps(told))
    command = [str(binaries / "python"), "-I", str(HERE / "tap_runner.py"), url, "--config", str(config)]
    if not catalog.exists():
        found = subprocess.run(
            [*command, "--discover"], env=surroundings(place), capture_output=True, text=True, check=True
        )
        catalog.write_text(json.dumps(_chosen(json.loads(found.stdout), streams)))
    return [*command, "--catalog", str(catalog), *(["--state", str(state)] if state.exists() else [])]


def _chosen(catalog: dict[str, Any], streams: tuple[str, ...]) -> dict[str, Any]:
    """Return a catalogue with just these streams selected."""
    for stream in catalog["streams"]:
        for one in stream["metadata"]:
            if not one["breadcrumb"]:
                one["metadata"]["selected"] = stream["tap_stream_id"] in streams
    return catalog


def _messages(out: Path, kind: str) -> list[Any]:
    with out.open("rb") as lines:
        return [json.loads(line) for line in lines if line.startswith(f'{{"type": "{kind}"'.encode())]


def _records(out: Path) -> int:
    with out.open("rb") as lines:
        return sum(line.startswith((b'{"type": "RECORD"', b'{"type":"RECORD"')) for line in lines)


def _keep_tap(out: Path, place: Path) -> None:
    (place / "state.json").write_text(json.dumps(_messages(out, "STATE")[-1]["value"]))


def _dlt(binaries: Path, place: Path, url: str, _streams: tuple[str, ...]) -> list[str]:
    return [str(binaries / "python"), "-I", str(HERE / "dlt_runner.py"), url, str(place), str(PAGE)]


def _airbyte(binaries: Path, place: Path, url: str, _streams: tuple[str, ...]) -> list[str]:
    config, catalog, state = (place / name for name in ("config.json", "catalog.json", "state.json"))
    config.write_text(json.dumps({"__injected_declarative_manifest": manifest(url)}))
    stream = {"name": "sequence_states", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
    wanted = {"stream": stream, "sync_mode": "incremental", "destination_sync_mode": "append"}
    catalog.write_text(json.dumps({"streams": [wanted]}))
    command = [str(binaries / "source-declarative-manifest"), "read"]
    command += ["--config", str(config), "--catalog", str(catalog)]
    return command + (["--state", str(state)] if state.exists() else [])


def _keep_airbyte(out: Path, place: Path) -> None:
    with out.open("rb") as lines:
        told = [json.loads(line) for line in lines if line.startswith(b'{"type":"STATE"')]
    (place / "state.json").write_text(json.dumps([told[-1]["state"]]))


def manifest(url: str) -> dict[str, Any]:
    """Return the sequence states as airbyte's declarative sources are told of them."""
    since = {"type": "MinMaxDatetime", "datetime": "2000-01-01T00:00:00.000Z", "datetime_format": MOMENT}
    updated = {"type": "AddedFieldDefinition", "path": ["updatedAt"], "value": "{{ record.attributes.updatedAt }}"}
    schema = {"type": "object", "additionalProperties": True, "properties": {"id": {"type": "integer"}}}
    stream = {
        "type": "DeclarativeStream",
        "name": "sequence_states",
        "primary_key": ["id"],
        "retriever": _retriever(url),
        "incremental_sync": {
            "type": "DatetimeBasedCursor",
            "cursor_field": "updatedAt",
            "datetime_format": MOMENT,
            "cursor_datetime_formats": [MOMENT, "%Y-%m-%dT%H:%M:%SZ"],
            "start_datetime": since,
        },
        "transformations": [{"type": "AddFields", "fields": [updated]}],
        "schema_loader": {"type": "InlineSchemaLoader", "schema": schema},
    }
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["sequence_states"]},
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
        "streams": [stream],
    }


def _retriever(url: str) -> dict[str, Any]:
    asked = {"count": "false", "sort": "updatedAt", "filter[updatedAt]": "{{ stream_interval.start_time }}..inf"}
    requester = {
        "type": "HttpRequester",
        "url_base": f"{url}/api/v2",
        "path": "/sequenceStates",
        "http_method": "GET",
        "authenticator": {"type": "BearerAuthenticator", "api_token": "sim-access"},
        "request_parameters": asked,
    }
    strategy = {
        "type": "CursorPagination",
        "page_size": PAGE,
        "cursor_value": "{{ response.links.next }}",
        "stop_condition": "{{ not response.links or not response.links.next }}",
    }
    paginator = {
        "type": "DefaultPaginator",
        "page_size_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "page[size]"},
        "page_token_option": {"type": "RequestPath"},
        "pagination_strategy": strategy,
    }
    extractor = {"type": "DpathExtractor", "field_path": ["data"]}
    selector = {"type": "RecordSelector", "extractor": extractor}
    return {"type": "SimpleRetriever", "requester": requester, "record_selector": selector, "paginator": paginator}


TAP = Rival("tap-outreach", "tap-outreach==1.2.2", _tap, _records, _keep_tap)
DLT = Rival("dlt", "dlt[duckdb]==1.31.0", _dlt, lambda out: int(out.read_text().split()[-1]), lambda *_: None)
AIRBYTE = Rival("airbyte-cdk", "airbyte-cdk==7.39.1", _airbyte, _records, _keep_airbyte)
RIVALS = (TAP, DLT, AIRBYTE)
