"""What can be chosen about a simulated Workbooks database, every choice with what the facts leave open."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS: dict[str, dict[str, Any]] = {"sim-key": {}, "sim-admin-key": {"admin": True, "user": "admin@example.invalid"}}
SHAPES = ("failures", "failure_words", "information", "errors2009")


@dataclass(slots=True)
class Options:
    """The choices of one database.

    * ``keys``: API key → ``{"expires": iso, "disabled": bool, "ips": [permitted addresses], "status": int, "reason":
      words, "user": login name, "admin": bool}``, all optional; ``sim-key`` is the integration's, ``sim-admin-key`` an
      administrator's;
    * ``users``: login name → password, for the other sign-in; ``administrators`` are login names among them;
    * ``denied_status``: HTTP status for an ordinary user who changes custom fields, picklists or users;
    * ``database_id``, ``database_name``, ``databases`` (further ``{id: name}``: a choice at login becomes necessary);
    * ``timezone``: the user's zone, in which times without a zone are read;
    * ``session_hours``: idle hours after which a session is dead;
    * ``failure_shape``, ``conflict_shape``: how refused fields and stale ``lock_version`` are told, one of
      ``failures`` (array of hashes), ``failure_words`` (array of texts), ``information`` (per object) and
      ``errors2009`` (the manual's sample); ``partial_success`` is the top-level ``success`` when some objects passed;
    * ``strict_filter``: an object that the request's own filter does not select is not accessible;
    * ``strict_attributes``: unknown attributes are errors in every session;
    * ``case_sensitive``: ``eq`` on texts minds the case;
    * ``bump_unchanged``: an update that changes nothing still counts ``lock_version`` up;
    * ``normalise``: texts are trimmed and their line ends unified on save;
    * ``check_contacts``: a task's ``primary_contact_id`` must be the id of a person there once was;
    * ``search_lag``: seconds for which lists do not know an API write yet;
    * ``custom_field_seconds``: until a new custom field is Available;
    * ``without_fields``, ``without_labels``, ``label_typo`` (right → wrong): what the database lacks of the default
      custom fields and of the picklist Sequence State;
    * ``rules``: validations of the customer's own, ``{"type", "field", "pattern", "message"}``: a value that the
      regular expression finds is refused with those words.
    """

    keys: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: dict(about) for name, about in KEYS.items()})
    users: dict[str, str] = field(default_factory=lambda: {"sim@example.invalid": "sim-password"})
    administrators: list[str] = field(default_factory=list)
    denied_status: int = 404
    database_id: int = 7
    database_name: str = "Simulated"
    databases: dict[int, str] = field(default_factory=dict)
    timezone: str = "Europe/London"
    session_hours: float = 8.0
    failure_shape: str = "information"
    conflict_shape: str = "failures"
    partial_success: bool = False
    strict_filter: bool = False
    strict_attributes: bool = False
    case_sensitive: bool = False
    bump_unchanged: bool = False
    normalise: bool = True
    check_contacts: bool = True
    search_lag: float = 0.0
    custom_field_seconds: float = 0.0
    without_fields: list[str] = field(default_factory=list)
    without_labels: list[str] = field(default_factory=list)
    label_typo: dict[str, str] = field(default_factory=dict)
    rules: list[dict[str, str]] = field(default_factory=list)

    def choose(self, name: str, value: object) -> None:
        """Set one choice; ValueError when there is no such choice or shape."""
        if name not in {one.name for one in fields(self)}:
            raise ValueError(f"no option {name!r}")
        if name.endswith("_shape") and value not in SHAPES:
            raise ValueError(f"{name} is one of {', '.join(SHAPES)}")
        if name == "keys" and isinstance(value, list):
            value = {key: {} for key in value}
        setattr(self, name, value)


def choices(given: Mapping[str, Any] | None) -> Options:
    """Return the defaults with the given ones in their place; ValueError for a name that is none."""
    options = Options()
    for name, value in (given or {}).items():
        options.choose(name, value)
    return options
