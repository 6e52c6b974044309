"""`outbook sim`: a simulator of either vendor on loopback."""

from __future__ import annotations

import typer

from worker.sim import outreach, server, workbooks

app = typer.Typer(help="Run a simulated vendor on loopback, for trials and tests.", no_args_is_help=True)

PORT = typer.Option(..., min=0, max=65535, help="The port on 127.0.0.1; 0 takes any free one.")
SEED = typer.Option("demo", help="The name of the invented organisation; the same name gives the same people.")
RECORDS = typer.Option(200, min=1, help="How many people it has.")
LATENCY = typer.Option(0, min=0, help="Milliseconds that every answer takes at least.")


@app.command("outreach")
def run_outreach(port: int = PORT, seed: str = SEED, records: int = RECORDS, latency_ms: int = LATENCY) -> None:
    """Run a simulated Outreach."""
    server.serve(outreach.build(seed, records), port=port, latency_ms=latency_ms)


@app.command("workbooks")
def run_workbooks(port: int = PORT, seed: str = SEED, records: int = RECORDS, latency_ms: int = LATENCY) -> None:
    """Run a simulated Workbooks."""
    server.serve(workbooks.build(seed, records), port=port, latency_ms=latency_ms)
