"""Logs: whatever any library says goes through one handler on stderr, redacted before it is written.

No name, address, phone number or credential is ever in a log. Keys that say they hold one lose their value; what looks
like one anywhere else, in messages, in exceptions, in other libraries' lines, is cut out of the text. A Celery app must
leave the root logger alone (``worker_hijack_root_logger=False``, and ``configure`` on the signal ``setup_logging``).
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from types import TracebackType

CUT = "[redacted]"
_DEPTH = 6
_QUIET = (
    *("alembic", "amqp", "asyncio", "billiard", "celery", "filelock", "httpcore", "httpx", "kombu", "multiprocessing"),
    *("redis", "sqlalchemy", "urllib3", "waitress"),
)

# A key is denied by any word in it, or by its last one; `sequence_name` and its like say nothing of a person.
_DENIED_WORDS = frozenset(
    "address addresses apikey authorization bearer body cookie cookies credential credentials email emails "
    "mail mobile param parameters params passphrase passwd password payload phone phones secret secrets telephone "
    "title token tokens".split()
)
_DENIED_LAST = frozenset({"auth", "firstname", "fullname", "key", "lastname", "name"})
_ALLOWED = frozenset({"event", "field_name", "file_name", "logger", "queue_name", "sequence_name", "task_name"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host
    (re.compile(r"(?<=://)[^\s/@'\"]{0,256}:[^\s/@'\"]{0,256}@"), f"{CUT}@"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)*"), CUT),
    (re.compile(r"\b(Bearer|Basic|Digest)\s+[^\s,;'\"]+", re.IGNORECASE), rf"\1 {CUT}"),
    # api_key=…, "access_token": "…", X-Api-Key: …, password is not quoted or is
    (
        re.compile(
            r"([\w-]{0,40}(?:api[_-]?key|token|secret|passw(?:or)?d|requirepass|signature|authorization|cookie)[\w-]{0,40}"
            r"[\"']?\s*[=:]\s*)(?:[\"'][^\"']*[\"']|[^\s&,;}\"']+)",
            re.IGNORECASE,
        ),
        rf"\1{CUT}",
    ),
    (re.compile(r"([?&](?:code|state|key|sig)=)[^\s&'\"]+"), rf"\1{CUT}"),
    # SQLAlchemy's and Postgres' ways to quote the values of a statement
    (re.compile(r"(\[parameters: ).*"), rf"\1{CUT}]"),
    (
        re.compile(
            r"(\[(?:generated in|cached since|no key|raw sql|caching disabled|dialect )[^\]\n]*\] ).*", re.DOTALL
        ),
        rf"\1{CUT}",
    ),
    (re.compile(r"((?:Key \([^()\n]*\)=|Failing row contains )\().*"), rf"\1{CUT})"),
    (re.compile(r"[^\s<>\"'(),;:\[\]{}=&?/@\\|]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+"), CUT),
    # a phone: after +, or a leading 0 or (0, or in the American groups; bare digits are ids and times
    (re.compile(r"(?<![\w.+-])(?:\+|%2B|00)\d(?:[ \xa0().-]{0,2}\d){7,14}(?![\w-])"), CUT),
    (re.compile(r"(?<![\w.:+-])\(?0\d{2,5}\)?[\s.-]?\d{3,4}[\s.-]?\d{3,4}(?![\w:-])"), CUT),
    (re.compile(r"(?<![\w.:+-])\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}(?![\w:-])"), CUT),
)


def scrub(text: str) -> str:
    """Return the text without credentials, e-mail addresses and phone numbers."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def _is_denied(key: str) -> bool:
    """Tell whether a key of this name holds something about a person, or a credential."""
    if key in _ALLOWED:
        return False
    words = [word.lower() for word in _WORD.findall(key)]
    return bool(words) and (words[-1] in _DENIED_LAST or not _DENIED_WORDS.isdisjoint(words))


def _clean(value: object, depth: int = 0) -> object:
    """Return a copy of the value that can be written: plain types only, every text scrubbed."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return scrub(value)
    if depth >= _DEPTH:
        return CUT
    if isinstance(value, dict):
        return {scrub(str(key)): _of_key(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner, depth + 1) for inner in value]
    return scrub(str(value))


def _of_key(key: str, value: object, depth: int) -> object:
    """Return the value cleaned, or cut if its key is denied and it can hold anything to hide."""
    if _is_denied(key) and value is not None and not isinstance(value, bool):
        return CUT
    return _clean(value, depth)


def redact(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Processor: the event without anything that must not be written. The last one before the renderer."""
    return {scrub(key): _of_key(key, value, 0) for key, value in event_dict.items()}


def configure(level: str = "INFO", *, as_json: bool | None = None) -> None:
    """Send structlog and the standard library's logging to stderr, redacted. May be called again; the last call holds.

    ``as_json`` None means JSON lines when stderr is no terminal, coloured lines for people otherwise. Chatty libraries
    are heard from WARNING on whatever the level: their debug lines hold headers and bodies.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # text without locals, so that it can be scrubbed
            redact,
            renderer,
        ],
    )
    handler = _StderrHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if not isinstance(one, _StderrHandler)] + [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; of a record that cannot be formatted only its place, for its arguments are not redacted."""
        if record.levelno < logging.WARNING and record.name.partition(".")[0] in _QUIET:
            return  # whoever opened that logger: the rows that SQLAlchemy shows there are people
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a log line must never end the work it tells of
            line = f"a log line of {record.name} at {record.filename}:{record.lineno} is lost ({type(error).__name__})"
        with contextlib.suppress(OSError):  # a full disk costs the line, not the work
            sys.stderr.write(line + "\n")


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what nobody caught, redacted, instead of printing it as it is."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("outbook").critical("uncaught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    """As for the main thread; a thread that leaves by SystemExit is no error."""
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
