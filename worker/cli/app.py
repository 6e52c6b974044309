"""The front door: the verbs gathered, and every foreseeable fault turned into a sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import sqlalchemy.exc
import typer
from typer.core import TyperGroup
from typer.main import get_group

from worker import bootstrap, config, embedded, release, telemetry
from worker.cli.exits import INVALID, UNEXPECTED
from worker.core import errors, mapping_file

if TYPE_CHECKING:
    from types import FrameType


USAGE: type[Exception] = typer.BadParameter.__bases__[0]
"""What is raised for a verb, option or value that does not exist; typer gives it no name of its own."""
KEPT = "what was done is kept, and the next run goes on from here"


class Interrupted(SystemExit):
    """SIGINT: typer would turn it into an exit code without a word."""


VERBS = {
    "sync": "sync:sync",
    "resync": "resync:resync",
    "pause": "pause:pause",
    "resume": "pause:resume",
    "plan": "plan:plan",
    "status": "status:status",
    "explain": "explain:explain",
    "doctor": "doctor:doctor",
    "up": "processes:up",
    "worker": "processes:worker",
    "beat": "processes:beat",
    "web": "web:web",
    "demo": "demo:demo",
    "link": "link:link",
    "backfill": "backfill:backfill",
    "reconcile": "reconcile:reconcile",
    "opt-in": "opt_in:opt_in",
    "forget": "forget:forget",
    "failures": "failures:app",
    "held": "held:app",
    "mapping": "mapping:app",
    "db": "database:app",
    "auth": "auth:app",
    "crm": "crm:app",
    "webhooks": "webhooks:app",
    "sim": "sim:app",
}
"""Where each verb and each noun is found, in the order of `--help`; a noun has verbs of its own."""
HIDDEN = {"demo"}


class _Door(TyperGroup):
    """The verbs, each brought in when it is asked for, and told apart from whoever interrupts them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's own signature
        """Return every verb and noun."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer's own signature
        """Return a verb or noun; with one that there is not, all are brought in, to be compared with what was typed."""
        for name in [cmd_name] if cmd_name in VERBS else VERBS:
            if name not in self.commands:
                self.add_command(_brought_in(name), name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own signature
        """Run the verb that was typed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted(128 + signal.SIGINT) from None


def _brought_in(name: str) -> Any:  # noqa: ANN401 - typer names its class nowhere
    module, _, attribute = VERBS[name].partition(":")
    found = getattr(importlib.import_module(f"worker.cli.{module}"), attribute)
    alone = typer.Typer()
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name, hidden=name in HIDDEN)(found)
    return get_group(alone).commands[name]


app = typer.Typer(
    name="outbook",
    cls=_Door,
    help="Keep Outreach and Workbooks in agreement.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(release.told())
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Keep Outreach and Workbooks in agreement."""


class Terminated(SystemExit):
    """SIGTERM: end after the current batch."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated(128 + signal.SIGTERM)


def main() -> None:
    """Run the command and leave with the contract's exit code (section 3)."""
    signal.signal(signal.SIGTERM, _terminate)
    telemetry.configure("WARNING")
    try:
        code = app(prog_name="outbook", standalone_mode=False)
    except USAGE as wrong:
        _misused(wrong)
    except (typer.Abort, Interrupted, Terminated) as end:
        _stopped(end)
    except config.SettingsInvalid as invalid:
        _leave(INVALID, *(f"{problem}" for problem in invalid.problems))
    except mapping_file.MappingInvalid as invalid:
        _leave(INVALID, str(invalid))
    except errors.Halt as halt:
        _leave(bootstrap.exit_code(halt), halt.words)
    except errors.OutbookError as error:
        _leave(3, error.words)
    except embedded.NotStarted as error:
        _leave(UNEXPECTED, str(error))
    except sqlalchemy.exc.DBAPIError as error:
        _leave(UNEXPECTED, f"the database: {_of_database(error)}")
    sys.exit(code or 0)


def _of_database(error: sqlalchemy.exc.DBAPIError) -> str:
    """Return what may be shown: the database's words where no statement was sent, else they may quote what was to be stored."""
    if isinstance(error, sqlalchemy.exc.OperationalError) and error.statement is None:
        return telemetry.scrub(str(error.orig))
    return f"{errors.told(error)} at {telemetry.place(error)}"


def _misused(wrong: Any) -> NoReturn:  # noqa: ANN401 - typer names its class nowhere
    """Say what was typed wrongly and where help is; a noun alone shows its verbs."""
    words, verb = (
        wrong.format_message().replace("Value error, ", ""),
        wrong.ctx.command_path if wrong.ctx else "outbook",
    )
    if words.startswith("Usage:") or not words or type(wrong).__name__.startswith("NoArgs"):
        from typer import rich_utils

        rich_utils.rich_format_error(wrong)
        _leave(INVALID)
    _leave(INVALID, f"{words.removesuffix('.').removesuffix('?')}; see {verb} --help")


def _stopped(end: BaseException) -> NoReturn:
    if isinstance(end, Terminated):
        _leave(128 + signal.SIGTERM, f"told to stop; {KEPT}")
    _leave(128 + signal.SIGINT, f"interrupted; {KEPT}" if isinstance(end, Interrupted) else "stopped; nothing was done")


def _leave(code: int, *lines: str) -> NoReturn:
    for line in lines:
        sys.stderr.write(f"outbook: {line}\n")
    sys.exit(code)


def settings() -> config.Settings:
    """Return the settings of the environment and the `.env` file here."""
    return config.load(os.environ, Path.cwd())
