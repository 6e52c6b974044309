"""Run dlt's REST source over the sequence states of ``URL`` into a DuckDB file of its own in ``DIRECTORY``; tells the rows.

Attributes and ids of relations become columns, as singer's tap does it: without that dlt would make tables of the links, too.
"""

from __future__ import annotations

import sys
from typing import Any

import dlt  # type: ignore[import-not-found]
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found]

RELATIONS = ("account", "creator", "mailbox", "opportunity", "prospect", "sequence", "sequenceStep")


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as one row."""
    named = ((name, (record["relationships"].get(name) or {}).get("data")) for name in RELATIONS)
    return {"id": record["id"], **record["attributes"], **{f"{name}Id": one["id"] for name, one in named if one}}


def main(url: str, directory: str, page: str) -> None:
    """Load what is new since the last time."""
    asked = {
        "page[size]": int(page),
        "count": "false",
        "sort": "updatedAt",
        "filter[updatedAt]": "{incremental.start_value}..inf",
    }
    states = {
        "name": "sequence_states",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {
            "path": "sequenceStates",
            "data_selector": "data",
            "params": asked,
            "incremental": {"cursor_path": "updatedAt", "initial_value": "2000-01-01T00:00:00.000Z"},
        },
        "processing_steps": [{"map": flat}],
    }
    client = {
        "base_url": f"{url}/api/v2/",
        "auth": {"type": "bearer", "token": "sim-access"},
        "paginator": {"type": "json_link", "next_url_path": "links.next"},
    }
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.duckdb(f"{directory}/bench.duckdb"),
        dataset_name="outreach",
        pipelines_dir=f"{directory}/pipelines",
    )
    pipeline.run(rest_api_source({"client": client, "resources": [states]}))
    sys.stdout.write(f"{pipeline.last_trace.last_normalize_info.row_counts.get('sequence_states', 0)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
