"""Settings: everything the environment says, read once, all problems told at once by variable name.

A variable is ``OUTBOOK_`` and the field's path joined by two underscores: ``OUTBOOK_OUTREACH__BASE_URL``. Not given is
``""`` for text and secrets. Nothing here opens a connection. No message holds a value: it may be a misplaced secret.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import secrets
import shlex
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PREFIX = "OUTBOOK_"
MAPPING_NAME = "mappings/outreach-workbooks.yaml"
_NONE = SecretStr("")
_POSTGRES = "postgresql+psycopg://"
_HOST = re.compile(r"(?:\[[^@/?\[\]]*\]|[^@:/?\[\]]*)(?::\d*)?")
MISREAD = "cannot be read as USER:PASSWORD@HOST:PORT/NAME; in a password write @ as %40, : as %3A, / as %2F"
_SQLITE = "sqlite:///"


class SettingsInvalid(Exception):
    """The settings cannot be used; ``problems`` names each variable and what is wrong with it, never its value."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems, one sentence each."""
        super().__init__("\n".join(problems))
        self.problems = problems


def _base_url(text: str) -> str:
    """Return the address without a final slash; ValueError if it is more than scheme, host and port."""
    try:
        parts = urlsplit(text)
        readable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        readable = False
    if not readable:
        raise ValueError("must look like https://host or https://host:port")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must end after the host, without a path or a query")
    return f"{parts.scheme}://{parts.netloc}"


def _calendar_day(text: str) -> date:
    """Return the day; ValueError if the text is not of the form 2027-03-31."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date such as 2027-03-31") from None


BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Day = Annotated[date, BeforeValidator(_calendar_day)]


class _Group(BaseModel):
    """Settings that share a prefix."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")


class Outreach(_Group):
    """How to reach Outreach, and how much of it may be used."""

    base_url: BaseUrl = "https://api.outreach.io"
    client_id: str = ""
    client_secret: SecretStr = _NONE
    redirect_uri: str = ""
    refresh_token: SecretStr = _NONE
    access_token: SecretStr = _NONE
    webhook_secret: SecretStr = _NONE
    hourly_calls: PositiveInt = 10_000
    yearly_calls: PositiveInt | None = None

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        """Each secret that a webhook may be signed with; several only while rotating."""
        parts = (part.strip() for part in self.webhook_secret.get_secret_value().split(","))
        return tuple(SecretStr(part) for part in parts if part)


class Workbooks(_Group):
    """How to reach Workbooks."""

    base_url: BaseUrl = "https://secure.workbooks.com"
    api_key: SecretStr = _NONE
    api_key_expires: Day | None = None
    setup_api_key: SecretStr = _NONE


class Console(_Group):
    """Where the console listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    password_hash: SecretStr = _NONE


class Settings(BaseSettings):
    """All settings, checked. Paths are absolute, ``database_url`` always names a database."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, hide_input_in_errors=True, extra="forbid"
    )

    outreach: Outreach = Outreach()
    workbooks: Workbooks = Workbooks()
    console: Console = Console()
    data_dir: Path
    mapping: Path
    database_url: SecretStr
    only: Path | None = None
    writes: Literal["all", "none"] = "all"
    broker_url: SecretStr = _NONE
    secret_key: SecretStr = _NONE
    poll_seconds: PositiveInt = 60
    alert_url: SecretStr = _NONE
    alert_command: SecretStr = _NONE
    allow_insecure_hosts: bool = False

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's own signature
        init_settings: PydanticBaseSettingsSource,
        **_others: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load`` hands in counts: nothing reads the process's environment behind its back."""
        return (init_settings,)

    @property
    def on_postgres(self) -> bool:
        """Whether the store is a Postgres."""
        return self.database_url.get_secret_value().startswith(_POSTGRES)


def _fields() -> dict[str, tuple[tuple[str, ...], bool]]:
    """Return for each variable its path in Settings, and whether it is a secret."""
    found: dict[str, tuple[tuple[str, ...], bool]] = {}
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, _Group):
            for inner, inner_field in group.model_fields.items():
                found[f"{PREFIX}{name}__{inner}".upper()] = ((name, inner), inner_field.annotation is SecretStr)
        else:
            found[f"{PREFIX}{name}".upper()] = ((name,), field.annotation is SecretStr)
    return found


VARIABLES = _fields()


def load(
    environ: Mapping[str, str],
    cwd: Path,
    *,
    credentials: bool = True,
    also: Callable[[Mapping[str, str]], Iterable[str]] = lambda _: (),
) -> Settings:
    """Return the settings of ``environ`` over ``cwd/.env``; relative paths are relative to ``cwd``.

    With ``credentials=False`` the vendors' keys may be missing, for verbs that talk to no vendor; ``also`` tells by the values
    what else is wrong for this very process. SettingsInvalid holds every problem there is.
    """
    problems: list[str] = []
    given = _given(environ, cwd, problems)
    values = _with_files(given, cwd, problems)
    _check_names(given, problems)
    _settle_paths(values, cwd, problems)
    nested: dict[str, Any] = {}
    for variable, value in values.items():
        path, _secret = VARIABLES[variable]
        (nested.setdefault(path[0], {}) if path[1:] else nested)[path[-1]] = value
    settings = None
    try:
        settings = Settings(**nested)
    except ValidationError as error:
        problems += [
            _sentence(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors(include_input=False)
        ]
    _check_together(values, problems, credentials=credentials)
    problems += also(values)
    if problems or settings is None:
        raise SettingsInvalid(sorted(problems))
    return settings


def _given(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> dict[str, str]:
    """Return our variables that hold something, the environment's before those of ``.env``.

    A secret in the environment also goes before the NAME_FILE in ``.env``, and the other way round.
    """
    ours = {name: text.strip() for name, text in environ.items() if name.startswith(PREFIX) and text.strip()}
    env_file = cwd / ".env"
    if not env_file.is_file():
        return ours
    try:
        lines = dotenv_values(env_file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f".env: cannot be read ({type(error).__name__})")
        return ours
    for name, text in lines.items():
        twin = name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE"
        if name.startswith(PREFIX) and text and text.strip() and twin not in environ:
            ours.setdefault(name, text.strip())
    return ours


def _with_files(given: Mapping[str, str], cwd: Path, problems: list[str]) -> dict[str, str]:
    """Return the known variables' values; a secret may come from the file that NAME_FILE names."""
    values = {name: text for name, text in given.items() if name in VARIABLES}
    for name, (_path, secret) in VARIABLES.items():
        file_name = f"{name}_FILE"
        if not secret or file_name not in given:
            continue
        if name in values:
            problems.append(f"{name}: set here and by {file_name}; keep one")
            continue
        try:
            text = (cwd / given[file_name]).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            problems.append(f"{file_name}: the file cannot be read ({type(error).__name__})")
            text = "unreadable"  # so that the secret is not called missing as well
        if not text:
            problems.append(f"{file_name}: the file is empty")
        values[name] = text
    return values


def _check_names(given: Mapping[str, str], problems: list[str]) -> None:
    """Add a problem for each variable that looks misspelt; others are somebody else's, such as Kubernetes' links."""
    known = [*VARIABLES, *(f"{name}_FILE" for name, (_path, secret) in VARIABLES.items() if secret)]
    for name, text in given.items():
        if name in known or text.startswith("tcp://"):
            continue
        words = name.removeprefix(PREFIX)
        if near := difflib.get_close_matches(words, [one.removeprefix(PREFIX) for one in known], n=1, cutoff=0.85):
            problems.append(f"{name}: unknown, did you mean {PREFIX}{near[0]}?")


def _settle_paths(values: dict[str, str], cwd: Path, problems: list[str]) -> None:
    """Make every path absolute, fill in the defaults that depend on them, and check what must be there."""
    data_dir = (cwd / Path(values.get("OUTBOOK_DATA_DIR", ".data")).expanduser()).absolute()
    values["OUTBOOK_DATA_DIR"] = str(data_dir)
    for name in ("OUTBOOK_MAPPING", "OUTBOOK_ONLY"):
        if name in values:
            path = (cwd / Path(values[name]).expanduser()).absolute()
            values[name] = str(path)
            if not path.is_file():
                problems.append(f"{name}: no such file: {path}")
    values.setdefault("OUTBOOK_MAPPING", str(default_mapping(cwd)))
    url = values.get("OUTBOOK_DATABASE_URL", "")
    if not url:
        values["OUTBOOK_DATABASE_URL"] = sqlite_url(data_dir / "outbook.db")
    elif url.startswith(_SQLITE) and url.removeprefix(_SQLITE).partition("?")[0] not in {"", ":memory:"}:
        path_text, mark, query = url.removeprefix(_SQLITE).partition("?")
        values["OUTBOOK_DATABASE_URL"] = sqlite_url((cwd / path_text).absolute()) + mark + query
    elif not url.startswith(_POSTGRES):
        problems.append(f"OUTBOOK_DATABASE_URL: must be {_POSTGRES}… or a file, {_SQLITE}…")
    elif is_misread(url):
        problems.append(f"OUTBOOK_DATABASE_URL: {MISREAD}")


def _check_together(values: Mapping[str, str], problems: list[str], *, credentials: bool) -> None:
    """Add the problems that no variable has by itself."""
    insecure = values.get("OUTBOOK_ALLOW_INSECURE_HOSTS", "").lower() in {"1", "true", "yes", "on", "t", "y"}
    problems += [
        f"{name}: must begin with https:// (OUTBOOK_ALLOW_INSECURE_HOSTS=1 permits http:// for tests)"
        for name in ("OUTBOOK_OUTREACH__BASE_URL", "OUTBOOK_WORKBOOKS__BASE_URL")
        if not insecure and values.get(name, "").lower().startswith("http://")
    ]
    _check_alerts(values, problems, insecure=insecure)
    broker = values.get("OUTBOOK_BROKER_URL", "")
    if broker and not broker.startswith(("redis://", "rediss://")):
        problems.append("OUTBOOK_BROKER_URL: must begin with redis:// or rediss://")
    elif broker and not _is_broker(broker):
        problems.append(
            "OUTBOOK_BROKER_URL: must be redis://:PASSWORD@HOST:PORT/NUMBER, in a password : / ? # @ as %3A %2F %3F %23 %40"
        )
    if values["OUTBOOK_DATABASE_URL"].startswith(_POSTGRES) and "OUTBOOK_SECRET_KEY" not in values:
        problems.append("OUTBOOK_SECRET_KEY: missing, and required with Postgres")
    if not credentials:
        return
    if "OUTBOOK_WORKBOOKS__API_KEY" not in values:
        problems.append("OUTBOOK_WORKBOOKS__API_KEY: missing")
    if "OUTBOOK_OUTREACH__ACCESS_TOKEN" in values:
        return
    app = ("OUTBOOK_OUTREACH__CLIENT_ID", "OUTBOOK_OUTREACH__CLIENT_SECRET")
    lacking = [name for name in app if name not in values]
    if len(lacking) == len(app):
        problems.append(f"{app[0]}: missing, with {app[1]} (or set OUTBOOK_OUTREACH__ACCESS_TOKEN for a trial)")
    else:
        problems += [f"{name}: missing" for name in lacking]


def _check_alerts(values: Mapping[str, str], problems: list[str], *, insecure: bool) -> None:
    """Add what keeps alerts from being told."""
    url = values.get("OUTBOOK_ALERT_URL", "")
    try:
        readable = not url or bool(urlsplit(url).hostname)
    except ValueError:
        readable = False
    schemes = ("https://", "http://") if insecure else ("https://",)
    if not readable or (url and not url.lower().startswith(schemes)):
        problems.append("OUTBOOK_ALERT_URL: must begin with https:// and a host")
    try:
        shlex.split(values.get("OUTBOOK_ALERT_COMMAND", ""))
    except ValueError:
        problems.append("OUTBOOK_ALERT_COMMAND: cannot be split into words; look at its quotes")


def _sentence(place: tuple[int | str, ...], kind: str, words: str) -> str:
    """Return the problem in our words, by variable."""
    variable = PREFIX + "__".join(str(part) for part in place).upper()
    if kind == "literal_error":
        words = words.replace("Input should be", "must be")
    return f"{variable}: {words.removeprefix('Value error, ').replace('Input should be', 'must be')}"


def is_misread(url: str) -> bool:
    """Tell whether a database would be looked for where a part of the password says: an @ in it ends it for the driver."""
    rest = url.partition("://")[2]
    before, at, after = rest.partition("@")
    return _HOST.fullmatch(re.split("[/?]", after if at else before, maxsplit=1)[0]) is None


def _is_broker(url: str) -> bool:
    """Tell whether the URL has a host, a port that is one, and a number for its database, and no @ where none belongs."""
    try:
        parts = urlsplit(url)
        placed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return placed and re.fullmatch(r"/?\d*", parts.path) is not None and "@" not in f"{parts.query}{parts.fragment}"


def sqlite_url(path: Path) -> str:
    """Return the database URL of a SQLite file at an absolute path."""
    return f"{_SQLITE}{path}"


def shipped_mapping() -> Path:
    """Return the default mapping as installed: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / MAPPING_NAME
    return inside if inside.is_file() else package.parent / MAPPING_NAME


def default_mapping(cwd: Path) -> Path:
    """Return the mapping in use when none is named: that of ``cwd`` if it has one, else the shipped one."""
    here = cwd / MAPPING_NAME
    return here.absolute() if here.is_file() else shipped_mapping()


def secret_key(settings: Settings) -> str:
    """Return the key that opens the store: the setting, else one made once in the data directory.

    Processes that start at the same time agree: the key is complete before its name appears, and the name appears once.
    """
    if settings.secret_key:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / "secret.key"
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=settings.data_dir, prefix=".secret.key.")  # mode 0600
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        Path(draft).unlink()
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise SettingsInvalid([f"OUTBOOK_SECRET_KEY: {path} cannot be read ({type(error).__name__})"]) from None
    if not key:
        raise SettingsInvalid([f"OUTBOOK_SECRET_KEY: {path} is empty; restore it, for nothing else opens the store"])
    return key
