"""The kinds of record a simulated Workbooks database has, and their fields.

Attribute names are those of the public manual, the vendor's samples and response dumps; data types carry the manual's
names. Kinds marked *open* are only there for the samples: they take any attribute as text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

INTEGRATION_USER = 2
"""Whom API keys and sessions act for."""
HUMAN_USER = 3
"""Who sits at the CRM's own screen."""
ADMINISTRATOR = 4
"""Whose key may make custom fields."""
STRING_LIMIT = 255
TEXT_LIMIT = 65_535
LONG_TEXT_LIMIT = 16_777_215
SEQUENCE_STATE = "Sequence State"
TASK_STATUSES = "Task Statuses"
PERSON_CLASS = "Private::Crm::Person"
TASK_CLASS = "Private::Activity::Task"
SEQUENCE_LABELS = (
    "Active – Running",
    "Active – Paused",
    "Opted Out",
    "Finished",
    "Pending",
    "Disabled",
    "Failed",
    "Bounced",
    "Not Active",
)
PICKLISTS: dict[str, tuple[str, ...]] = {
    "Industries": ("Media & Entertainment", "Food", "Professional Services", "Software"),
    "Case Statuses": ("New", "Open", "Closed"),
    TASK_STATUSES: ("New", "In Progress", "Complete", "Cancelled"),
    "Task Priorities": ("High", "Medium", "Low"),
    "Task Types": ("To-do", "Phone call", "Email"),
    "Lead Sources": ("Web Lead", "Telephone", "Event"),
    SEQUENCE_STATE: SEQUENCE_LABELS,
}
CUSTOM_DATATYPES = {"picklist": "picklist_data", "decimal": "float", "percentage": "float", "iframe": "uri"}


@dataclass(slots=True)
class Field:
    """One stored attribute. ``picklist`` names the list its values come from; ``unrestricted`` lets others in."""

    name: str
    datatype: str = "string"
    title: str = ""
    required: bool = False
    default: Any = None
    picklist: str | None = None
    unrestricted: bool = True

    @property
    def limit(self) -> int | None:
        """The longest text that fits, in characters."""
        if self.datatype == "text":
            return LONG_TEXT_LIMIT if self.name in {"value", "description"} else TEXT_LIMIT
        return STRING_LIMIT if self.datatype in {"string", "picklist_data", "uri", "currency"} else None


@dataclass(frozen=True, slots=True)
class Association:
    """A bracketed column's first part: ``key`` holds the other's id, ``kind`` its kind or the column of its class."""

    key: str
    kind: str


USERS = {name: Association(key, "user") for name, key in (("owner", "owner_id"),)} | {
    "created_by_user": Association("created_by", "user"),
    "updated_by_user": Association("updated_by", "user"),
}


@dataclass(slots=True)
class Kind:
    """One kind of record, as ``metadata/types`` describes it."""

    short: str
    controller: str
    class_name: str
    prefix: str
    human: tuple[str, str]
    fields: dict[str, Field] = field(default_factory=dict)
    associations: dict[str, Association] = field(default_factory=dict)
    is_open: bool = False
    queue: str = "activity_queue"

    def add(self, one: Field) -> None:
        """Give the kind a field."""
        self.fields[one.name] = one

    def defaults(self) -> dict[str, Any]:
        """Return what a new record holds where nothing was given, but for blanks and unticked boxes."""
        return {name: one.default for name, one in self.fields.items() if one.default}


def _fields(text: str, **more: Field) -> dict[str, Field]:
    """Return fields written as ``name name:datatype``; ``more`` replaces those that need more words."""
    found = {}
    for word in text.split():
        name, _, datatype = word.partition(":")
        found[name] = Field(name, datatype or "string", default=False if datatype == "boolean" else None)
    return {**found, **more}


def _location(name: str) -> str:
    parts = (
        "street_address:text town county_province_state postcode country telephone mobile fax alternate_telephone "
        "email alternate_email email_address_undeliverable:boolean"
    )
    words = (part.partition(":") for part in parts.split())
    return " ".join(f"{name}[{word}]{colon}{datatype}" for word, colon, datatype in words)


_COMMON = (
    "name owner_id:integer assigned_to:integer imported:boolean watched:boolean "
    "created_through created_through_reference "
)
_CONSENT = (
    "no_email_soliciting:boolean no_phone_soliciting:boolean no_post_soliciting:boolean email_opt_in:boolean "
    "gdpr_compliant:boolean compliance_channels sync_with_mailer:boolean "
)
_PERSON = (
    _COMMON + _CONSENT + _location("main_location") + " " + _location("home_location") + " "
    "main_location_id:integer person_first_name person_middle_name person_last_name person_personal_title "
    "person_suffix person_salutation alternate_names person_job_title person_job_role employer_link:integer "
    "employer_name industry website linkedin_url twitter_url facebook_url skype_name photo_url lead_source_type "
    "marketing_campaign_id:integer "
    "mailchimp_last_synchronised_at:datetime biography:text party_notes:text categories preferred_language refcode"
)
_ORGANISATION = (
    _COMMON + _CONSENT + _location("main_location") + " main_location_id:integer website industry refcode currency "
    "organisation_annual_revenue:currency organisation_category organisation_company_number "
    "organisation_num_employees:integer organisation_vat_number party_notes:text"
)
_TASK = (
    _COMMON + "description:text activity_priority activity_type due:var_date_time start:var_date_time "
    "finish:var_date_time started:var_date_time completed:var_date_time scheduled_start:var_date_time "
    "scheduled_finish:var_date_time duration:integer all_day:boolean reminder_enabled:boolean "
    "reminder_datetime:datetime reminder_minutes:integer primary_contact_id:integer primary_contact_type"
)
_STATUS = Field("activity_status", default="New", picklist=TASK_STATUSES, unrestricted=False, datatype="picklist_data")
_OPEN = (
    ("sales_lead", "crm/sales_leads", "Private::Crm::SalesLead", "LEAD", "Sales Lead"),
    ("opportunity", "crm/opportunities", "Private::Crm::Opportunity", "OPP", "Opportunity"),
    ("case", "crm/cases", "Private::Crm::Case", "CASE", "Case"),
    ("meeting", "activity/meetings", "Private::Activity::Meeting", "MEET", "Meeting"),
    ("activity_link", "activity/activity_links", "Private::Activity::ActivityLink", "ALNK", "Activity Link"),
    ("note", "notes", "Private::Note", "NOTE", "Note"),
    ("online_activity", "crm/online_activities", "Private::Crm::OnlineActivity", "ONL", "Online Activity"),
    ("party_location", "crm/party_locations", "Private::Crm::PartyLocation", "LOC", "Party Location"),
)
_QUEUES = (
    ("activity_queue", "activity/activity_queues", "Private::Activity::ActivityQueue", "AQ", "Activity Queue"),
    ("person_queue", "crm/person_queues", "Private::Crm::PersonQueue", "PQ", "Person Queue"),
    ("case_queue", "crm/case_queues", "Private::Crm::CaseQueue", "CQ", "Case Queue"),
    ("organisation_queue", "crm/organisation_queues", "Private::Crm::OrganisationQueue", "OQ", "Organisation Queue"),
)


def _parties() -> list[Kind]:
    industry = Field("industry", "picklist_data", picklist="Industries")
    source = Field("lead_source_type", "picklist_data", picklist="Lead Sources")
    return [
        Kind(
            "person",
            "crm/people",
            PERSON_CLASS,
            "PERS",
            ("Person", "People"),
            _fields(_PERSON, name=Field("name", required=True), industry=industry, lead_source_type=source),
            {**USERS, "employer": Association("employer_link", "organisation")},
            queue="person_queue",
        ),
        Kind(
            "organisation",
            "crm/organisations",
            "Private::Crm::Organisation",
            "ORG",
            ("Organisation", "Organisations"),
            _fields(_ORGANISATION, name=Field("name", required=True), industry=industry),
            dict(USERS),
            queue="organisation_queue",
        ),
    ]


def _task() -> Kind:
    words = {
        "name": Field("name", required=True),
        "activity_status": _STATUS,
        "activity_priority": Field("activity_priority", "picklist_data", default="Medium", picklist="Task Priorities"),
        "activity_type": Field("activity_type", "picklist_data", default="To-do", picklist="Task Types"),
    }
    return Kind(
        "task",
        "activity/tasks",
        TASK_CLASS,
        "TASK",
        ("Task", "Tasks"),
        _fields(_TASK, **words),
        {**USERS, "primary_contact": Association("primary_contact_id", "primary_contact_type")},
    )


def _administration() -> list[Kind]:
    data = _fields(_COMMON + "key key2 value:text", key=Field("key", required=True))
    lists = _fields(_COMMON + "description:text", name=Field("name", required=True))
    entries = _fields(_COMMON + "picklist_id:integer position:integer", value=Field("value", required=True))
    custom = _fields(
        _COMMON
        + "description:text picklist_id:integer value_column_name status unrestricted:boolean available_at:integer",
        title=Field("title", required=True),
        resource_type=Field("resource_type", required=True),
        data_type=Field("data_type", required=True),
    )
    rows = (
        ("api_datum", "automation/api_data", "Private::Automation::ApiDatum", "API", "API Data", data, False),
        ("picklist", "admin/picklists", "Private::Picklist", "PICK", "Picklist", lists, False),
        (
            "picklist_entry",
            "admin/picklist_entries",
            "Private::PicklistEntry",
            "ENTRY",
            "Picklist Entry",
            entries,
            False,
        ),
        ("custom_field", "admin/custom_fields", "Private::CustomField", "CF", "Custom Field", custom, True),
        ("user", "admin/users", "Private::User", "USER", "User", _fields(_COMMON + "login_name person_name"), False),
    )
    return [
        Kind(short, path, class_name, prefix, (human, f"{human}s"), found, dict(USERS), is_open=is_open)
        for short, path, class_name, prefix, human, found, is_open in rows
    ]


def kinds() -> dict[str, Kind]:
    """Return fresh kinds by controller path, before any custom field."""
    found = [*_parties(), _task(), *_administration()]
    for short, path, class_name, prefix, human in _OPEN:
        names = (human, f"{human}s")
        found.append(Kind(short, path, class_name, prefix, names, _fields(_COMMON), dict(USERS), is_open=True))
    for short, path, class_name, prefix, human in _QUEUES:
        queue = _fields(_COMMON + "queue_type")
        found.append(Kind(short, path, class_name, prefix, (human, f"{human}s"), queue, dict(USERS)))
    return {kind.controller: kind for kind in found}


CUSTOM_FIELDS: tuple[tuple[str, str, str, str], ...] = (
    (PERSON_CLASS, "Outreach Id", "cf_person_outreach_id", "string"),
    (PERSON_CLASS, SEQUENCE_STATE, "cf_person_sequence_state", "picklist"),
    (PERSON_CLASS, "Sequence State Updated At", "cf_person_sequence_state_updated_at", "datetime"),
    (PERSON_CLASS, "Sequence Name", "cf_person_sequence_name", "string"),
    (PERSON_CLASS, "Sequence Step", "cf_person_sequence_step", "integer"),
    (PERSON_CLASS, "Sequences", "cf_person_sequences", "text"),
    (PERSON_CLASS, "Sync to Outreach", "cf_person_sync_to_outreach", "boolean"),
    (PERSON_CLASS, "Outreach Error", "cf_person_outreach_error", "text"),
    (TASK_CLASS, "Outreach Id", "cf_task_outreach_id", "string"),
)
"""The default mapping's custom fields: class, title, name, data type."""
