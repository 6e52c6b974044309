"""Who a caller of the simulated CRM is, and what only an administrator may do.

A key runs as one user with that user's capabilities (knowledge base "API Keys"). What an ordinary user is told who
writes custom fields or picklists is not documented: option ``denied_status`` (404, which the manual gives for "absent
or no access", unless told otherwise).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from worker.sim.workbooks_types import INTEGRATION_USER
from worker.sim.workbooks_wire import Stop, refused, unacceptable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.workbooks_batch import Plan
    from worker.sim.workbooks_types import Kind
    from worker.sim.workbooks_world import World

ADMINISTRATION = "admin/"
DATA_TYPES = frozenset(
    "boolean currency date datetime decimal iframe integer percentage picklist string text uri".split()
)
"""Of these the vendor's sample shows boolean, decimal, iframe, percentage and picklist; the others are metadata's."""
TAKEN = "has already been taken"


def check_key(world: World, key: str, remote: str) -> Mapping[str, Any]:
    """Return what is known of a living key. Stop with its status and reason if it does not serve (any more)."""
    about = world.options.keys.get(key)
    if about is None:
        raise refused(401, "unrecognised_name_or_password")
    if about.get("disabled"):
        raise refused(int(about.get("status", 401)), about.get("reason", "login_disabled"))
    if about.get("ips") is not None and remote not in about["ips"]:
        raise refused(int(about.get("status", 403)), about.get("reason", "no_permission_for_api"))
    expires = about.get("expires")
    if expires and datetime.fromisoformat(expires).timestamp() <= world.clock.now().timestamp():
        raise refused(int(about.get("status", 401)), about.get("reason", "unrecognised_name_or_password"))
    if about.get("status") and not expires and about.get("ips") is None:
        raise refused(int(about["status"]), about.get("reason", "no_permission_for_api"))
    return about


def user_id(world: World, who: object) -> int:
    """Return a user's id from login name or id; that of the integration's user for nobody known."""
    if isinstance(who, int):
        return who
    rows = world.tables["user"].rows.values()
    return next((row.id for row in rows if row.values.get("login_name") == who), INTEGRATION_USER)


def denied(world: World, kind: Kind) -> Stop:
    """Return the refusal of a change that only an administrator may make."""
    if world.options.denied_status == 404:  # noqa: PLR2004
        return unacceptable(f"{kind.human[1]} do not exist, or access was denied", 404)
    return refused(world.options.denied_status, "no_permission_for_api")


def needs_administrator(kind: Kind) -> bool:
    """Return whether only an administrator may write records of this kind."""
    return kind.controller.startswith(ADMINISTRATION)


def wrong(world: World, kind: Kind, plan: Plan) -> dict[str, list[str]]:
    """Return what is wrong with a custom field, a picklist or one of its entries."""
    given = plan.values
    held = {**(plan.row.values if plan.row is not None else {}), **given}
    if kind.short == "custom_field":
        return _wrong_field(world, plan, held)
    if kind.short == "picklist_entry":
        scope = ("picklist_id", "value")
        errors = {} if world.picklist_name(held.get("picklist_id")) else {"picklist_id": ["does not exist"]}
        return errors or _doubled(world, kind.short, plan, held, scope)
    return _doubled(world, kind.short, plan, held, ("name",)) if kind.short == "picklist" else {}


def _wrong_field(world: World, plan: Plan, held: Mapping[str, Any]) -> dict[str, list[str]]:
    if held.get("resource_type") not in world.classes:
        return {"resource_type": ["is not included in the list"]}
    if held.get("data_type") not in DATA_TYPES:
        return {"data_type": ["is not included in the list"]}
    if held["data_type"] == "picklist" and world.picklist_name(held.get("picklist_id")) is None:
        return {"picklist_id": ["does not exist"]}
    return _doubled(world, "custom_field", plan, held, ("resource_type", "title"))


def _doubled(
    world: World, short: str, plan: Plan, held: Mapping[str, Any], scope: tuple[str, ...]
) -> dict[str, list[str]]:
    """Return the error of a record that another living one is already called, under the scope's last name."""

    def same(values: Mapping[str, Any]) -> list[str]:
        return [str(values.get(name)).strip().casefold() for name in scope]

    rows = world.tables[short].rows.values()
    other = any(not row.is_deleted and row is not plan.row and same(row.values) == same(held) for row in rows)
    return {scope[-1]: [TAKEN]} if other else {}
