"""The program: a group that imports a command only when it is used, and the one place where answers leave.

A command is a function that takes the `Session` (`click.pass_obj`) and returns a `Report`; what goes wrong it raises as
KeyturnError. Command modules import at the top what is cheap only, so that help and completion stay fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from keyturn import __version__
from keyturn.errors import KeyturnError, UnfinishedError, UsageError

if TYPE_CHECKING:  # these cost more than `--help` may
    from click.shell_completion import CompletionItem

    from keyturn.cli.estate import Estate, Wiring
    from keyturn.cli.progress import Progress
    from keyturn.clock import Clock
    from keyturn.engine.record.events import Body

PROGRAM = "keyturn"

COMMANDS: dict[str, tuple[str, str, str]] = {
    "status": ("status", "status", "What is valid where, who is missing, what to type next."),
    "plan": ("plan", "plan", "What a rotation would do, and the digest to approve it by."),
    "check": ("check", "check", "Check the configuration; with --online the vendors and sinks too."),
    "history": ("history", "history", "What happened to one secret, when and by whom."),
    "audit": ("audit", "audit", "Verify or export the journal."),
    "run": ("run", "run", "Do everything that is due, in flight or owed."),
    "rotate": ("rotate", "rotate", "Rotate secrets now."),
    "resume": ("flight", "resume", "Carry on with a rotation in flight, or with what it owes."),
    "recover": ("recover", "recover", "Replace a lost secret by what it came with (a recovery file)."),
    "rollback": ("flight", "rollback", "Go back to the version before, while both live."),
    "abandon": ("flight", "abandon", "Undo a rotation, or end it where it can not be undone."),
    "ack": ("flight", "ack", "Record that a consumer reads a version."),
    "hold": ("flight", "hold", "End the hold, or move its end."),
    "pause": ("pause", "pause", "Begin no rotation by schedule for a while."),
    "adopt": ("adopt", "adopt", "Take over a value that exists as the current version."),
    "repair": ("adopt", "repair", "Copy the current version into sinks that are empty or older."),
    "escrow": ("escrow", "escrow", "List or open the sealed values in flight."),
    "init": ("init", "init", "Make a configuration, a key and a journal to begin with."),
    "demo": ("demo", "demo", "See rotations against simulated vendors in a minute."),
    "simulate": ("simulate", "simulate", "Run a simulator of a vendor on this machine."),
    "plugins": ("plugins", "plugins", "List the installed providers, sinks and overlaps."),
    "schema": ("schema", "schema", "Print the JSON Schema of the configuration."),
    "plugin": ("plugin", "plugin", "Run a command that a plugin brings along."),
}
"""Name to module below `keyturn.cli.commands`, attribute, and the one line shown by `keyturn --help`."""

HELP = ["-h", "--help"]

EPILOG = """\b
Exit codes:
  0  done, nothing due, or holding as planned    5  stuck: a person must act
  1  a bug in Keyturn or a plugin                6  unfinished: the next run goes on
  2  command line or configuration is wrong      7  another runner holds it
  3  refused before anything was changed         8  attention: overdue, unmanaged,
  4  failed and undone: the old version is good     a problem, a short life,
                                                    or paused past its date
"""


WIDTH_MIN, WIDTH_MAX = 50, 100
"""Columns of a help text."""


class Report(NamedTuple):  # a dataclass would cost `--help` a millisecond
    """What a command answers: `data` for --json, `text` for people (stdout). `error` is told besides, on stderr."""

    data: Mapping[str, object] = {}
    text: str = ""
    exit_code: int = 0
    error: KeyturnError | None = None


class Session:
    """One run of the program. `command` is the command's name as typed, `audit verify` for instance."""

    def __init__(self, wiring: Wiring | None = None) -> None:
        self.wiring = wiring
        self.config: str | None = None
        self.json = False
        self.command = ""
        self.out = sys.stdout
        self.err = sys.stderr
        self._progress: Progress | None = None

    @contextmanager
    def estate(self) -> Iterator[Estate]:
        """The configured estate, closed at the end. The first signal to end stops it after the running step."""
        from keyturn.cli.estate import open_estate  # noqa: PLC0415 - loads pydantic
        from keyturn.cli.progress import make_progress  # noqa: PLC0415 - help does without it

        if not self.json:
            self._progress = make_progress(self.err, self._write)
        estate = open_estate(self.config, wiring=self.wiring, tell=self.tell)
        try:
            with _stopped_by_signals(estate.clock, self):
                yield estate
        finally:
            estate.close()

    def tell(self, secret: str, body: Body) -> None:
        """Progress on stderr for an event that was just journaled; nothing in JSON mode."""
        if self._progress:
            self._progress.tell(secret, body)

    def say(self, text: str) -> None:
        """A line for people on stderr; nothing in JSON mode. Runs in several threads: one write per line."""
        if not self.json:
            self.settle()
            self._write(f"{text}\n")

    def settle(self) -> None:
        """Take away what progress shows of a step in flight, so that something else can be written."""
        if self._progress:
            self._progress.clear()

    def _write(self, text: str) -> None:
        """To stderr. A reader that went away, or a full disk, must never stop a rotation."""
        with suppress(OSError, ValueError):
            self.err.write(text)
            self.err.flush()


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.find_object(Session), name, value)

    return keep


def _common() -> list[click.Parameter]:
    """The options that every command takes, before or after its name."""
    return [
        click.Option(
            ["--config"],
            metavar="PATH",
            expose_value=False,
            is_eager=True,
            callback=_set("config"),
            help="The configuration: a file or a folder. "
            "Default: $KEYTURN_CONFIG, ./keyturn.yaml, /etc/keyturn/keyturn.yaml.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set("json"),
            help="Print one JSON document and nothing else.",
        ),
    ]


class Command(click.Command):
    """A command with the common options: `@click.command(cls=Command)`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common())

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """The same in every context: click keeps the option that the first one makes."""
        del ctx
        return HELP

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; the session knows its name."""
        session = ctx.find_object(Session)
        if session:
            session.command = ctx.command_path.partition(" ")[2]
        return super().invoke(ctx)


class Group(click.Group):
    """A group with the common options, for families such as `audit verify`: `@click.group(cls=Group)`."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common())

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """The same in every context, as for a command."""
        del ctx
        return HELP


class Program(Group):
    """The top: knows its commands by the table, and imports one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command, imported."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, short_help = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"keyturn.cli.commands.{module}"), attribute)
        command.short_help = command.short_help or short_help
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command; an unknown one gets a suggestion."""
        if not ctx.resilient_parsing and args[0] not in COMMANDS:
            raise _no_such_command(ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help) for name, (_, _, short_help) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table, without importing a command."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - help does without it

        names = [
            CompletionItem(name, help=short_help)
            for name, (_, _, short_help) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def _no_such_command(ctx: click.Context, name: str) -> click.UsageError:
    from difflib import get_close_matches  # noqa: PLC0415 - help does without it

    near = get_close_matches(name, COMMANDS, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return click.UsageError(f"there is no command {name!r}{guess}", ctx)


@click.group(cls=Program, epilog=EPILOG, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def program() -> None:
    """Rotate secrets that live at vendors, without an outage and without ever losing one."""


def main(argv: Sequence[str] | None = None, *, wiring: Wiring | None = None) -> NoReturn:
    """Run the program and exit. `wiring` lets tests put faults in between."""
    args = list(sys.argv[1:] if argv is None else argv)
    session = Session(wiring)
    report = _answer(args, session)
    code = report.exit_code if report else 0
    try:
        if report is not None:
            _print(session, report)
        session.out.flush()
    except BrokenPipeError:
        _mute(session)  # whoever reads has seen enough
    except OSError as error:
        _mute(session)
        code = _unwritten(session, code, error)
    sys.exit(code)


def _unwritten(session: Session, code: int, error: OSError) -> int:
    """Say on stderr, in JSON mode too, that stdout could not be written; the exit code is never 0 then."""
    from keyturn.cli.render import error_text  # noqa: PLC0415 - help does without it

    hint = "keyturn status shows what is true; write the answer elsewhere"
    why = error.strerror or type(error).__name__
    said = UnfinishedError("not-written", f"what was done is done, but the answer was not written: {why}", hint=hint)
    session.json = False
    session.say(error_text(said).rstrip("\n"))
    return code or said.exit_code


def _mute(session: Session) -> None:
    """Python flushes once more when it exits, and would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), session.out.fileno())


def _answer(args: list[str], session: Session) -> Report | None:
    """What the command answers, errors included; None where click has printed a help text."""
    try:
        result = program.main(
            args=args, prog_name=PROGRAM, standalone_mode=False, obj=session, terminal_width=_columns()
        )
    except KeyturnError as error:
        session.json = session.json or "--json" in args
        return _failed(error)
    except click.exceptions.NoArgsIsHelpError as error:
        session.json = session.json or "--json" in args
        return _failed(_as_usage(error, session)) if session.json else _helped(error)
    except click.ClickException as error:
        session.json = session.json or "--json" in args
        return _failed(_as_usage(error, session))
    except (click.Abort, KeyboardInterrupt):
        return _failed(_interrupted(session))
    except Exception as error:  # noqa: BLE001 - the last fence: no traceback, no value
        from keyturn.cli.render import bug  # noqa: PLC0415 - help does without it

        return _failed(bug(error))
    return result if isinstance(result, Report) else None


def _columns() -> int:
    """How wide a help text may be: as click reckons it, without the modules that click loads for it."""
    columns = int(text) if (text := os.environ.get("COLUMNS", "")).isdecimal() else 0
    if not columns:
        with suppress(OSError, ValueError, AttributeError):
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
    return max(min(columns or 80, WIDTH_MAX) - 2, WIDTH_MIN)


def _helped(error: click.exceptions.NoArgsIsHelpError) -> Report:
    """A command without its arguments shows its help, and is wrong all the same."""
    return Report(text=error.message, exit_code=UsageError.exit_code)


def _failed(error: KeyturnError) -> Report:
    return Report(exit_code=error.exit_code, error=error)


def _print(session: Session, report: Report) -> None:
    from keyturn.cli.render import document, error_text  # noqa: PLC0415 - help does without it

    session.settle()
    if session.json:
        session.out.write(document(session.command, report.exit_code, report.data, report.error))
        return
    if report.text:
        session.out.write(report.text.rstrip("\n") + "\n")
        session.out.flush()
    if report.error:
        session.say(error_text(report.error).rstrip("\n"))


def _as_usage(error: click.ClickException, session: Session) -> UsageError:
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else PROGRAM
    session.command = session.command or path.partition(" ")[2]
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return UsageError("usage", "there is no command on the line", hint=f"{path} --help")
    text = error.format_message().rstrip(".")
    return UsageError("usage", text[:1].lower() + text[1:], hint=f"{path} --help")


def _interrupted(session: Session) -> KeyturnError:
    typed = f"{PROGRAM} {session.command}".rstrip()
    return UnfinishedError("interrupted", "stopped before the end", hint=f"{PROGRAM} status, or {typed} again")


@contextmanager
def _stopped_by_signals(clock: Clock, session: Session) -> Iterator[None]:
    """The first signal ends every wait and begins nothing new; the second ends the process, as safe as a crash.

    A terminal that is closed sends SIGHUP, maybe more than once: consumers that drain are still told to go on.
    """
    import signal  # noqa: PLC0415 - help does without it

    def stop(number: int, _frame: FrameType | None) -> None:
        if clock.stopped and number == signal.SIGHUP:
            return
        if clock.stopped:
            os._exit(UnfinishedError.exit_code)
        clock.stop()
        session.say("stopping after the running step; once more to stop at once (nothing is lost)")

    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]  # nohup
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, *hang_up)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
