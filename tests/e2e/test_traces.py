"""Traces, received by a collector on loopback: one for each batch, a span for each record, and nobody's data in any."""

from __future__ import annotations

import gzip
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.rig import ROOT, Stage
from worker import traces


class Collector(http.server.ThreadingHTTPServer):
    """Keeps the spans it is sent."""

    def __init__(self) -> None:
        """Listen somewhere."""
        super().__init__(("127.0.0.1", 0), _Letter)
        self.spans: list[Span] = []
        self.raw = b""


class _Letter(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Take spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        told = ExportTraceServiceRequest.FromString(plain)
        self.server.raw += plain
        self.server.spans += [span for one in told.resource_spans for its in one.scope_spans for span in its.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector on loopback, named in the environment."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        traces.finish()
        server.shutdown()
        thread.join()


def _said(span: Span) -> dict[str, str | int]:
    """Return a span's attributes."""
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_pass_is_traced_batch_by_batch(stage: Stage, collector: Collector) -> None:
    """One trace a batch with its records and calls below it, one a poll; a record that fails is told as what it is."""
    good, bad = stage.enrolled("ada@example.com", first="Adalind"), stage.enrolled("bo@example.com", word="odd")
    stage.sync(code=3)
    traces.finish()
    by_id = {span.span_id: span for span in collector.spans}
    assert {span.name for span in collector.spans} == {"poll", "page", "apply", "record", "call"}
    roots = [span for span in collector.spans if not span.parent_span_id]
    assert len({span.trace_id for span in roots}) == len(roots)
    records = {
        str(_said(span)["outbook.ref"]): (_said(span)["outbook.outcome"], by_id[span.parent_span_id].name)
        for span in collector.spans
        if span.name == "record"
    }
    assert {
        f"prospects:{good}": ("settled", "apply"),
        f"prospects:{bad}": ("dead", "apply"),
    }.items() <= records.items()
    polls = {_said(span)["outbook.stream"] for span in roots if span.name == "poll"}
    assert polls == {"sequences", "sequenceSteps", "prospects", "sequenceStates", "people", "tasks", "crmTasks"}
    wrote = [span for span in collector.spans if _said(span).get("outbook.operation") == "write"]
    assert {by_id[span.parent_span_id].name for span in wrote} == {"apply"}
    assert not any(word in collector.raw for word in (b"ada", b"Adalind", b"example.com", b"sim-"))


def test_a_page_tells_of_each_record_that_moved(stage: Stage, collector: Collector) -> None:
    """What the first load brings is no news; after it a page has a span for whoever moved, and none for echoes and others."""
    stage.enrolled("ada@example.com")
    moved, gone = (stage.enrolled(f"{name}@example.com") for name in ("bo", "cy"))
    stage.sync()
    stage.later(3600)
    stage.set_prospect(moved, title="Head of Adalind")
    former = int(stage.person_of(gone)["id"])
    stage.delete_person(former)
    stage.sync()
    traces.finish()
    pages = {span.span_id: _said(span) for span in collector.spans if span.name == "page"}
    told = [
        (pages[span.parent_span_id]["outbook.stream"], _said(span)["outbook.ref"], _said(span)["outbook.outcome"])
        for span in collector.spans
        if span.name == "record" and span.parent_span_id in pages
    ]
    assert sorted(told) == [
        ("people", f"people:{former}", "deleted"),
        ("prospects", f"prospects:{moved}", "changed"),
    ]
    assert sum(int(one["outbook.echoes"]) for one in pages.values() if one["outbook.stream"] == "people") == 5
    assert not any(word in collector.raw for word in (b"Adalind", b"example.com"))


def test_what_ends_a_batch_is_told_by_its_kind_alone(collector: Collector) -> None:
    """An error is named by its class: its words may hold anything."""
    with pytest.raises(ValueError, match="secret"), traces.span("apply", changes=1):
        raise ValueError("a secret of ours")
    traces.finish()
    assert [_said(span) for span in collector.spans] == [{"outbook.changes": 1, "outbook.raised": "ValueError"}]
    assert b"secret" not in collector.raw


def test_nobody_pays_for_traces_that_nobody_wants() -> None:
    """Without an endpoint neither tracer nor exporter is imported; the little that is comes with the Redis client."""
    script = (
        "import sys; from worker import app, tasks, traces; from worker.sync import run\n"
        "with traces.span('apply') as span: span.set(changes=1); assert not span.wanted\n"
        "heavy = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'google')\n"
        "assert not [name for name in sys.modules if name.startswith(heavy)]"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
