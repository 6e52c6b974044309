"""What is shown of a record to somebody who did not ask for personal data: that a value is there, and how long it is.

Whatever is copied from one side to the other counts as personal; what Outbook works out, flags, numbers and ids do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.mapping import OPT_OUT_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot, Value

LONGEST = 240
"""Letters that are shown of one value."""
_TELLING = frozenset({*OPT_OUT_ATTRIBUTES, "updatedAt", "id", "lock_version"})


def is_personal(name: str, mapping: Mapping) -> bool:
    """Tell whether the value of a person's CRM field, or of a prospect's attribute, may say something about somebody."""
    line = mapping.by_crm.get(name)
    asked = mapping.actions.columns if mapping.actions else ()
    return (line is None or line.computed is None) and name not in _TELLING and name not in asked


def masked(value: Value) -> Value:
    """Return the value with its texts hidden: only how long each is."""
    if isinstance(value, str):
        return f"•••({len(value)})" if value else value
    return [f"•••({len(item)})" for item in value] if isinstance(value, list) else value


def shown(fields: Dict[str, Value], mapping: Mapping) -> dict[str, Value]:
    """Return fields as they may be shown to anybody who may see the record's ids: personal texts hidden, long ones cut."""
    return {name: masked(value) if is_personal(name, mapping) else cut(value) for name, value in fields.items()}


def texts(records: Iterable[Snapshot | None], mapping: Mapping) -> tuple[str, ...]:
    """Return every personal text of these records: what a vendor's words about them must not bring to anybody else."""
    found: set[str] = set()
    for record in records:
        for name, value in record.fields.items() if record else ():
            if is_personal(name, mapping):
                found.update(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))
    return tuple(sorted(found - {""}))


def cut(value: Value) -> Value:
    """Return the value, a long text cut."""
    return value[: LONGEST - 1] + "…" if isinstance(value, str) and len(value) > LONGEST else value
