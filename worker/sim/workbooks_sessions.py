"""Who is calling: an API key on each request, or a session from ``login.api`` with its cookie and token.

README "Authentication"; where it is silent: an unknown, expired or disabled key is 401 with the ``failure_reason`` of
the sign-in (a key can be given any other status and reason), a change without the right ``_authenticity_token`` is 403
``invalid_authenticity_token``, a request with neither key nor cookie 401 ``no_session``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_dates as dates
from worker.sim.control import Reply, Request, json_reply
from worker.sim.workbooks_columns import Formats
from worker.sim.workbooks_types import INTEGRATION_USER
from worker.sim.workbooks_wire import Parameters, Stop, redirected, refused, unacceptable

if TYPE_CHECKING:
    from worker.sim.workbooks_world import World

COOKIE = "Workbooks-Session"
_RESERVED_NAMES = frozenset({"workbooks", "workbooks desktop"})
_HOUR = 3600


@dataclass(slots=True)
class Session:
    """One signed-in client. ``asked`` are the parameters of its login, which hold for all its requests."""

    id: str
    token: str
    login: str
    asked: Parameters
    used_at: float


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, and how the answer is to be: the login's wishes and the request's own."""

    application: str
    strict: bool
    per_object: bool
    pretty: bool
    formats: Formats
    user: int = INTEGRATION_USER
    session: Session | None = None


@dataclass(slots=True)
class Sessions:
    """All living sessions of one database."""

    world: World
    living: dict[str, Session] = field(default_factory=dict)
    counted: int = 0

    def caller(self, request: Request, asked: Parameters) -> Caller:
        """Return who is calling; Stop with 401, 403, or 302 to ``/login`` for a dead session."""
        key = asked.get("api_key")
        if key is not None and key != "None":
            self._check_key(key)
            return self._caller(request, asked, None)
        cookie = _cookie(request)
        if cookie is None:
            raise refused(401, "no_session")
        session = self.living.get(cookie)
        now = self.world.clock.now().timestamp()
        if session is None or now - session.used_at > self.world.options.session_hours * _HOUR:
            self.living.pop(cookie, None)
            raise Stop(redirected("/login"))
        session.used_at = now
        return self._caller(request, asked, session)

    def _check_key(self, key: str) -> None:
        about = self.world.options.keys.get(key)
        if about is None:
            raise refused(401, "unrecognised_name_or_password")
        if about.get("disabled"):
            raise refused(int(about.get("status", 401)), about.get("reason", "login_disabled"))
        expires = about.get("expires")
        if expires and datetime.fromisoformat(expires).timestamp() <= self.world.clock.now().timestamp():
            raise refused(int(about.get("status", 401)), about.get("reason", "unrecognised_name_or_password"))
        if about.get("status") and not expires:
            raise refused(int(about["status"]), about.get("reason", "no_permission_for_api"))

    def _caller(self, request: Request, asked: Parameters, session: Session | None) -> Caller:
        sources = [asked] if session is None else [asked, session.asked]

        def wish(name: str) -> str | None:
            return next((value for source in sources if (value := source.get(name)) is not None), None)

        def flag(name: str) -> bool:
            return next((source.flag(name) for source in sources if source.get(name) is not None), False)

        agent = request.headers.get("user-agent", "")
        return Caller(
            application=wish("_application_name") or re.split(r"[\s/]", agent, maxsplit=1)[0],
            strict=flag("_strict_attribute_checking") or self.world.options.strict_attributes,
            per_object=flag("_per_object_transactions"),
            pretty=wish("json") == "pretty",
            formats=Formats(
                wish("_json_output_date_format") or dates.DATE_FORMAT,
                wish("_json_output_datetime_format") or dates.DATETIME_FORMAT,
            ),
            session=session,
        )

    def check_token(self, caller: Caller, asked: Parameters) -> None:
        """Stop a change in a session that does not carry the session's token; API keys need none."""
        if caller.session is not None and asked.get("_authenticity_token") != caller.session.token:
            raise refused(403, "invalid_authenticity_token")

    def login(self, request: Request, asked: Parameters) -> Reply:
        """Answer ``POST /login.api``: a session, its cookie, and what there is to know about the database."""
        if asked.get("client") != "api":
            raise unacceptable("client=api is required")
        if (asked.get("_application_name") or "").lower() in _RESERVED_NAMES:
            raise refused(403, "invalid_application_name")
        login = self._identified(asked)
        session = self._opened(login, asked)
        document = {**self._about(session), "session_id": session.id, "authenticity_token": session.token}
        if not asked.flag("_fast_login"):
            document["my_queues"] = {
                self.world.short[kind].class_name: INTEGRATION_USER + 1
                for kind in ("person_queue", "organisation_queue", "activity_queue")
            }
        reply = json_reply(200, document)
        reply.headers.append(self.cookie(session, request))
        return reply

    def _identified(self, asked: Parameters) -> str:
        """Return the login name of whoever signs in, by key, by password, or by an earlier session."""
        key, name, given = asked.get("api_key"), asked.get("username"), asked.get("session_id")
        if key and key != "None":
            self._check_key(key)
            return next(iter(self.world.options.users), "sim@example.invalid")
        if given and name:
            former = self.living.pop(given, None)
            if former is None or former.login != name:
                raise refused(401, "no_session_found")
            return name
        if name is None or self.world.options.users.get(name) != asked.get("password"):
            raise refused(401, "unrecognised_name_or_password")
        self._choose_database(asked.get("logical_database_id"))
        return name

    def _choose_database(self, wanted: str | None) -> None:
        options = self.world.options
        if wanted is None and options.databases:
            document = {
                "success": False,
                "failure_reason": "no_database_selection_made",
                "databases": self._databases(),
            }
            raise Stop(json_reply(403, {**document, "default_database_id": options.database_id}))
        if wanted is not None and wanted != str(options.database_id):
            raise refused(403, "requested_database_not_available")

    def _databases(self) -> list[dict[str, Any]]:
        options = self.world.options
        named = {options.database_id: options.database_name, **options.databases}
        created = dates.tell_datetime(self.world.now() - 400 * 86_400)
        return [{"id": number, "name": name, "created_at": created} for number, name in named.items()]

    def _about(self, session: Session) -> dict[str, Any]:
        options = self.world.options
        return {
            "success": True,
            "logical_database_id": options.database_id,
            "default_database_id": options.database_id,
            "database_name": options.database_name,
            "database_instance_id": 120_000 + options.database_id,
            "databases": self._databases(),
            "user_id": INTEGRATION_USER,
            "login_name": session.login,
            "person_name": "Sim Integration",
            "timezone": options.timezone.rpartition("/")[2],
            "version": "Simulated",
            "api_version": 1,
        }

    def _opened(self, login: str, asked: Parameters) -> Session:
        self.counted += 1
        text = f"{self.world.seed}/{self.counted}/{self.world.clock.now().isoformat()}"
        session_id = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        token = hashlib.blake2b(session_id.encode(), digest_size=20).hexdigest()
        session = Session(session_id, token, login, asked, self.world.clock.now().timestamp())
        self.living[session_id] = session
        return session

    def cookie(self, session: Session, request: Request) -> tuple[str, str]:
        """Return the header; its spelling, semicolon included, is what the vendor's PHP and Ruby clients look for."""
        secure = " secure;" if request.base_url.startswith("https:") else ""
        return "Set-Cookie", f"{COOKIE}={session.id}; path=/;{secure} HttpOnly"

    def logout(self, request: Request) -> Reply:
        """Answer ``POST /logout``: the session is gone; 302 is what success looks like."""
        cookie = _cookie(request)
        if cookie is not None:
            self.living.pop(cookie, None)
        return redirected("/login")


def _cookie(request: Request) -> str | None:
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and found.value else None
