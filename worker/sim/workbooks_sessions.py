"""Who is calling: an API key on each request, or a session from ``login.api`` with its cookie and token.

README "Authentication"; where it is silent: an unknown, expired or disabled key is 401 with the ``failure_reason`` of
the sign-in (a key can be given any other status and reason), a change without the right ``_authenticity_token`` is 403
``invalid_authenticity_token``, a request with neither key nor cookie 401 ``no_session``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_access as access
from worker.sim import workbooks_dates as dates
from worker.sim.control import Reply, Request, json_reply
from worker.sim.workbooks_columns import Formats
from worker.sim.workbooks_types import INTEGRATION_USER
from worker.sim.workbooks_wire import Parameters, Stop, redirected, refused, unacceptable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.workbooks_world import World

COOKIE = "Workbooks-Session"
_RESERVED_NAMES = frozenset({"workbooks", "workbooks desktop"})
_HOUR = 3600


@dataclass(slots=True)
class Session:
    """One signed-in client. ``asked`` are the parameters of its login, which hold for all its requests.

    ``about`` is what is known of whoever signed in: ``user``, ``admin``.
    """

    id: str
    token: str
    login: str
    asked: Parameters
    used_at: float
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, and how the answer is to be: the login's wishes and the request's own."""

    application: str
    strict: bool
    per_object: bool
    pretty: bool
    formats: Formats
    user: int = INTEGRATION_USER
    administrator: bool = False
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
            about = access.check_key(self.world, key, request.remote)
            return self._caller(request, asked, None, about)
        cookie = _cookie(request)
        if cookie is None:
            raise refused(401, "no_session")
        session = self.living.get(cookie)
        now = self.world.clock.now().timestamp()
        if session is None or now - session.used_at > self.world.options.session_hours * _HOUR:
            self.living.pop(cookie, None)
            raise Stop(redirected("/login"))
        session.used_at = now
        return self._caller(request, asked, session, session.about)

    def _caller(self, request: Request, asked: Parameters, session: Session | None, about: Mapping[str, Any]) -> Caller:
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
            user=access.user_id(self.world, about.get("user")),
            administrator=bool(about.get("admin")),
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
        login, about = self._identified(asked, request.remote)
        session = self._opened(login, asked, about)
        document = {**self._about(session), "session_id": session.id, "authenticity_token": session.token}
        if not asked.flag("_fast_login"):
            document["my_queues"] = {
                self.world.short[kind].class_name: document["user_id"] + 1
                for kind in ("person_queue", "organisation_queue", "activity_queue")
            }
        reply = json_reply(200, document)
        reply.headers.append(self.cookie(session, request))
        return reply

    def _identified(self, asked: Parameters, remote: str) -> tuple[str, Mapping[str, Any]]:
        """Return login name and capabilities of whoever signs in, by key, by password, or by an earlier session."""
        key, name, given = asked.get("api_key"), asked.get("username"), asked.get("session_id")
        if key and key != "None":
            about = access.check_key(self.world, key, remote)
            return str(about.get("user") or next(iter(self.world.options.users), "sim@example.invalid")), about
        if given and name:
            former = self.living.pop(given, None)
            if former is None or former.login != name:
                raise refused(401, "no_session_found")
            return name, former.about
        if name is None or self.world.options.users.get(name) != asked.get("password"):
            raise refused(401, "unrecognised_name_or_password")
        self._choose_database(asked.get("logical_database_id"))
        return name, {"user": name, "admin": name in self.world.options.administrators}

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
        options, number = self.world.options, access.user_id(self.world, session.login)
        return {
            "success": True,
            "logical_database_id": options.database_id,
            "default_database_id": options.database_id,
            "database_name": options.database_name,
            "database_instance_id": 120_000 + options.database_id,
            "databases": self._databases(),
            "user_id": number,
            "login_name": session.login,
            "person_name": self.world.tables["user"].rows[number].values["person_name"],
            "timezone": options.timezone.rpartition("/")[2],
            "version": "Simulated",
            "api_version": 1,
        }

    def _opened(self, login: str, asked: Parameters, about: Mapping[str, Any]) -> Session:
        self.counted += 1
        text = f"{self.world.seed}/{self.counted}/{self.world.clock.now().isoformat()}"
        session_id = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        token = hashlib.blake2b(session_id.encode(), digest_size=20).hexdigest()
        session = Session(session_id, token, login, asked, self.world.clock.now().timestamp(), about)
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
