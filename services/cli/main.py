"""The `rag` command: what its subcommands are, and how each of them ends."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from services.cli.ask import ask
from services.cli.audit import audit
from services.cli.backup import backup, restore
from services.cli.conversations import CONVERSATION_COMMANDS
from services.cli.credentials import Key, taking_key
from services.cli.dead_letters import LETTER_COMMANDS
from services.cli.doctor import doctor
from services.cli.documents import documents
from services.cli.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE, CommandError
from services.cli.eval import eval
from services.cli.ingest import ingest
from services.cli.keys import KEY_COMMANDS
from services.cli.options import DEFAULT_URL
from services.cli.provision import provision
from services.cli.reindex import reindex
from services.cli.search import search
from services.cli.status import status
from services.cli.trace import trace
from services.cli.up import up
from shared.version import VERSION

COMMANDS = (up, ingest, search, ask, documents, status, trace, audit, reindex, provision, backup, restore, eval, doctor)
# These talk to no gateway.
WITHOUT_KEY = (up, provision, backup, restore)
GROUPS = {
    "dead-letters": (LETTER_COMMANDS, "Look at what could not be processed."),
    "conversations": (CONVERSATION_COMMANDS, "Look at what was asked and answered."),
    "keys": (KEY_COMMANDS, "Say who may call."),
}


def build_app() -> typer.Typer:
    """Return the command with all its subcommands."""
    # Without rich's help: it takes longer to load than everything else together.
    app = typer.Typer(name="rag", rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(_common_options)
    for command in COMMANDS:
        app.command()(command if command in WITHOUT_KEY else taking_key(command))
    for name, (commands, about) in GROUPS.items():
        app.add_typer(_group(commands, about), name=name)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a failure, 2 for a wrong command line, 130 for Ctrl-C."""
    _never_fail_to_print()
    try:
        code = build_app()(args=arguments, prog_name="rag", standalone_mode=False)
    except CommandError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(f"{error.format_message()} (see `rag --help`)", EXIT_USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        _close_quietly()
        return EXIT_FAILURE
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", EXIT_FAILURE)
    return code if isinstance(code, int) else 0


def _common_options(
    context: typer.Context,
    url: Annotated[
        str, typer.Option("--url", envvar="RAG_URL", metavar="URL", help="Address of the gateway.")
    ] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    key: Key = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Documents in, cited answers out: runs and uses the platform.

    `rag up` starts everything on this machine; the other commands talk to it.
    """
    if version:
        typer.echo(f"rag {VERSION}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(EXIT_USAGE)
    common = {"url": url, "as_json": as_json, "key": key}
    context.default_map = {command.__name__: common for command in COMMANDS}
    for group, (commands, _) in GROUPS.items():
        context.default_map[group] = {name: common for name in commands}


def _group(commands: Mapping[str, Callable[..., Any]], about: str) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help=about)
    for name, command in commands.items():
        app.command(name)(taking_key(command))
    return app


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"rag: {message}\n")
    return code


def _never_fail_to_print() -> None:
    """A terminal that can't show a character shows another one instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _close_quietly() -> None:
    """Whoever read our output has enough; the interpreter must not complain about that at its exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
