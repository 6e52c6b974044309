"""Logs: whatever any library says goes through one handler on stderr, redacted before it is written.

No name, address, phone number or credential is ever in a log. Keys that say they hold one lose their value; what looks
like one anywhere else, in messages, in other libraries' lines, is cut out of the text. Nothing knows a bare name, and an
exception may quote one: what an exception says is therefore written only if it is one of ours (``core.errors.told``). Of any
other its type, its code and the frames are, and so it is for warnings and for what Python itself prints of exceptions.

A Celery app must leave the root logger alone (``worker_hijack_root_logger=False``, and ``configure`` on the signal
``setup_logging``).
"""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from worker.core import errors

if TYPE_CHECKING:
    from collections.abc import MutableMapping
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
_QUOTING = frozenset({"args", "exc", "kwargs", "traceback"})
"""What Celery's lines about a task call the texts in which it quotes an exception, or what the task was called with."""
_CHAIN = 20
_HOME = __file__.removesuffix("telemetry.py")
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
    if isinstance(value, BaseException):
        return scrub(errors.told(value))
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


class _Told(str):
    """What is told of an exception: the same as a text and as its ``repr``."""

    __slots__ = ()
    __repr__ = str.__str__


def _wordless(value: Any) -> Any:  # noqa: ANN401 - whatever is to be put into a message
    """Return the value with what may be told of an exception in its place, in containers too."""
    if isinstance(value, BaseException):
        return _Told(errors.told(value))
    if isinstance(value, dict):
        return {key: CUT if key in _QUOTING else _wordless(inner) for key, inner in value.items()}
    if type(value) in {list, tuple, set, frozenset}:
        return type(value)([_wordless(inner) for inner in value])
    return value


def _tell_arguments(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: nothing that a message is made of is an exception any more."""
    for key in ("event", "positional_args"):
        if key in event_dict:
            event_dict[key] = _wordless(event_dict[key])
    return event_dict


def traced(error: BaseException) -> str:
    """Return an exception as Python prints it, its causes before it, with what may be told instead of what each one says."""
    lines = []
    for one, then in reversed(_chain(error)):
        frames = traceback.format_tb(one.__traceback__)
        lines += ["Traceback (most recent call last):\n", *frames] if frames else []
        lines += [f"{errors.told(one)}\n", f"\n{then}\n\n" if then else ""]
    return "".join(lines).rstrip("\n")


def _chain(error: BaseException) -> list[tuple[BaseException, str]]:
    """Return an exception, what came before it and what it is a group of, each with what joins it to the one that follows."""
    found: list[tuple[BaseException, str]] = []
    waiting = [(error, "")]
    while waiting and len(found) < _CHAIN:
        one, then = waiting.pop()
        if any(one is known for known, _ in found):
            continue
        found.append((one, then))
        if isinstance(one, BaseExceptionGroup):
            waiting += [(part, "is one of:") for part in one.exceptions]
        if one.__cause__ is not None:
            waiting.append((one.__cause__, "led to:"))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append((one.__context__, "was being handled when there came:"))
    return found


def place(error: BaseException) -> str:
    """Return where in our own code an exception came up, such as ``worker/store/outbox.py:12``; empty if nowhere in it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if one.filename.startswith(_HOME)]
    return f"worker/{ours[-1].filename.removeprefix(_HOME)}:{ours[-1].lineno}" if ours else ""


def _tell_exception(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: an exception turned into text, without locals, without words that are not ours, in the message neither."""
    given = event_dict.pop("exc_info", None)
    if given and not isinstance(given, BaseException):
        given = (given if isinstance(given, tuple) else sys.exc_info())[1]
    if given:
        event_dict["exception"] = traced(given)
        event_dict["event"] = _unquoted(str(event_dict.get("event", "")), given)
    return event_dict


def _unquoted(text: str, error: BaseException) -> str:
    """Return a message without what the exceptions told with it say, for a library may have put that into it already."""
    for one in (one for one, _ in _chain(error) if not errors.is_ours(one)):
        quoted = {str(one), repr(one), *(arg for arg in one.args if isinstance(arg, str))}
        for words in sorted((words for words in quoted if len(words) > 1), key=len, reverse=True):
            text = text.replace(words, CUT)
    return text


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
            _tell_exception,
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
            _tell_arguments,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_uncaught_in_thread
    warnings.showwarning = _log_warning


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; of a record that cannot be formatted only its place, for its arguments are not redacted."""
        if record.levelno < logging.WARNING and record.name.partition(".")[0] in _QUIET:
            return  # whoever opened that logger: the rows that SQLAlchemy shows there are people
        try:
            line = self.format(_without_words(record))
        except Exception as error:  # noqa: BLE001 - a log line must never end the work it tells of
            line = f"a log line of {record.name} at {record.filename}:{record.lineno} is lost ({type(error).__name__})"
        with contextlib.suppress(OSError):  # a full disk costs the line, not the work
            sys.stderr.write(line + "\n")


def _without_words(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record with nothing to be put into its message that is an exception, or quotes one."""
    record = copy.copy(record)
    if isinstance(record.msg, BaseException):
        record.msg = _wordless(record.msg)
    if record.args:
        record.args = _wordless(dict(record.args) if isinstance(record.args, Mapping) else record.args)
    return record


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what nobody caught, redacted, instead of printing it as it is: Ctrl-C may have come amidst another fault."""
    logging.getLogger("outbook").critical("uncaught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    """As for the main thread; a thread that leaves by SystemExit is no error."""
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    """Log what a finalizer or a callback raised, which nobody can catch."""
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _log_warning(  # noqa: PLR0917 - Python's own signature
    message: Warning | str,  # noqa: ARG001 - as above
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,  # noqa: ARG001 - as above
    line: str | None = None,  # noqa: ARG001 - as above
) -> None:
    """Log of a warning its kind and its place: its words may quote a value."""
    logging.getLogger("outbook").warning("warned of %s at %s:%d", category.__name__, filename, lineno)
