"""Traces, for whoever sets OTEL_EXPORTER_OTLP_ENDPOINT: a trace a batch, a span a call, a span a record. Without it, nothing.

A span holds ids, counts and words of ours: no field, no address, no words of a vendor. What is not wanted is not even imported.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from worker import release

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NAME = "OTEL_SERVICE_NAME"


class Span:
    """A span nobody wants to see; its kin in here is one that somebody does."""

    wanted = False

    def set(self, **attributes: str | float) -> None:
        """Say more about what is done."""

    def records(self, outcomes: Iterable[tuple[str, str]]) -> None:
        """Add a span for each record, as long as this one so far: which it is, and what became of it."""


_NOBODY = Span()
_begun: dict[int, tuple[Any, Any]] = {}
"""What sends and what makes spans, by process: a worker's child must not share the thread that its parent sends with."""


@contextlib.contextmanager
def span(name: str, **attributes: str | float) -> Iterator[Span]:
    """Hold a span while the block lasts; the first one is a trace's root. What ends it is told by its kind alone."""
    if not os.environ.get(ENDPOINT):
        yield _NOBODY
        return
    _, tracer = _begun.get(os.getpid()) or _begin()
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as own:
        told = _Wanted(tracer, own)
        told.set(**attributes)
        try:
            yield told
        except BaseException as error:
            told.set(raised=type(error).__name__)
            raise


class _Wanted(Span):
    wanted = True

    def __init__(self, tracer: Any, own: Any) -> None:  # noqa: ANN401 - its types are imported only where it is wanted
        self._tracer = tracer
        self._own = own

    def set(self, **attributes: str | float) -> None:
        for name, value in attributes.items():
            self._own.set_attribute(f"outbook.{name}", value)

    def records(self, outcomes: Iterable[tuple[str, str]]) -> None:
        for ref, outcome in outcomes:
            told = {"outbook.ref": ref, "outbook.outcome": outcome}
            self._tracer.start_span("record", start_time=self._own.start_time, attributes=told).end()


def finish() -> None:
    """Send what was not sent yet, and end; a process that exits does so by itself."""
    provider, _ = _begun.pop(os.getpid(), (None, None))
    if provider is not None:
        provider.shutdown()


def _begin() -> tuple[Any, Any]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {"service.name": os.environ.get(NAME, "outbook"), "service.version": release.version()}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _begun[os.getpid()] = told = provider, provider.get_tracer("outbook", release.version())
    return told
