"""Look at framers, plugins and streams from a shell. Needs the extra ``framestream[cli]``.

Each command is one function in a module that is imported when the command runs: ``framestream --help``
imports none of them, and ``framestream cut`` no event loop. Exit statuses: 1 the data or the system,
2 the way the command was called, 130 Ctrl-C, 141 a closed pipe.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from framestream import decoder
from framestream.cli.output import complain, discard, prints_aside, tell
from framestream.errors import AddressError, FramestreamError, SpecError, describe_error, describe_os_error, printable

# Python prefers an extension module to the Python module of the same name next to it.
COMPILED: Final = not str(decoder.__file__).endswith(".py")
"""True if the code that every frame passes through is compiled, see docs/speed.md."""

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141

_FIRST_STEPS: Final = """\
framestream cuts byte streams into protocol frames. Try it on what real programs sent:

  framestream cut line sample:redis --count 4
  framestream cut length-prefix:size=2 sample:dns --count 1 --output hex

and then on bytes of your own:

  printf 'one;two;' | framestream cut 'delimiter:";"' --output text
  framestream framers length-prefix      # explains a framer and its options
  framestream connect exec:cat -f line   # talks to a program, or to a server
  framestream new acme                   # writes a plugin with a framer of your own

framestream --help lists every command."""

_COMMANDS: Final = {
    "cut": ("cut", "Cut a stream into frames and print them."),
    "stats": ("archives", "Count the frames of a file, and show how large they are."),
    "index": ("archives", "Write an index next to a file, to find any frame at once."),
    "repair": ("archives", "Cut off an incomplete frame at the end of a file."),
    "connect": ("connect", "Connect to a server; send and see frames."),
    "serve": ("serve", "Serve frames: echo them, run a command for each, or print them."),
    "framers": ("framers", "List the framers, or explain one."),
    "check": ("framers", "Check that framers keep the contract."),
    "plugins": ("plugins", "List plugins and their problems."),
    "new": ("new", "Write the project of a new plugin."),
}
"""The module of each command, and its description."""


@contextmanager
def _quiet_ends() -> Iterator[None]:
    """Turn Ctrl-C, a closed pipe and an error of the system into an exit status or one line."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        discard(sys.stdout)
        raise click.exceptions.Exit(CLOSED_PIPE) from None
    except MemoryError:
        raise click.ClickException("there is not enough memory; --max-size limits what a frame takes") from None
    except OSError as error:
        # Code that opens files names them in its errors, or says more; a disk that is full is that of the output.
        name = "''" if error.filename == "" else error.filename  # a variable of the shell that is not set
        if name:
            raise click.ClickException(f"{name}: {describe_os_error(error)}") from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            says_more = not str(error).startswith("[Errno ")
            raise click.ClickException(str(error) if says_more else describe_os_error(error)) from error
        discard(sys.stdout)
        raise click.ClickException(f"standard output: {describe_os_error(error)}") from error


class _Commands(click.Group):
    """The commands, each imported on first use; Ctrl-C and a closed pipe end them quietly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"framestream.cli.{_COMMANDS[cmd_name][0]}")
        return getattr(module, cmd_name)  # type: ignore[no-any-return]  # a command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    # Click itself would end the process with another status, while it parses the arguments, too.
    make_context = _quiet_ends()(click.Group.make_context)
    invoke = _quiet_ends()(click.Group.invoke)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(
    package_name="framestream", message="%(package)s %(version)s" + (", compiled" if COMPILED else "")
)
@click.option(
    "-p", "selection", multiple=True, metavar="[no:]NAME", help="Load a plugin, or disable it. May be repeated."
)
@click.option(
    "--config",
    type=click.Path(),
    envvar="FRAMESTREAM_CONFIG",
    help="TOML file with named framers.  [default: the pyproject.toml here or above]",
)
@click.pass_context
def commands(context: click.Context, selection: tuple[str, ...], config: str | None) -> None:
    """Cut byte streams into protocol frames, with the framing itself as a plugin."""
    if context.invoked_subcommand is None:
        click.echo(_FIRST_STEPS)
        return
    # Imported here: neither --help nor --version needs them.
    from framestream import plugins  # noqa: PLC0415
    from framestream.cli.options import matching  # noqa: PLC0415
    from framestream.registry.specs import find_config  # noqa: PLC0415

    path = config or find_config(Path.cwd())
    try:
        if path is not None:
            plugins.load_config(path)
    except (SpecError, OSError):
        # Click reads the arguments of a command after this; its help needs no framers.
        if {"-h", "--help"}.isdisjoint(context.obj):
            raise
    for name in selection:
        matching(name.removeprefix("no:"))
        if name.startswith("no:"):
            plugins.disable(name.removeprefix("no:"), reason=f"-p {name}")
        else:
            with prints_aside():
                plugins.load(name)


def run(arguments: Sequence[str]) -> int:
    """Run the command line with these arguments; return the exit status.

    An error of neither click nor framestream is a bug, and raised.
    """
    try:
        return int(commands.main([*arguments], "framestream", standalone_mode=False, obj=arguments) or 0)
    except click.ClickException as error:
        complain(error.format_message(), keep="\n\t")
        if isinstance(error, click.UsageError):
            tell("hint:", f"{error.ctx.command_path if error.ctx else 'framestream'} --help", "cyan")
        return error.exit_code
    except FramestreamError as error:
        complain(describe_error(error))
        if isinstance(error, SpecError):
            _explain(error)
        # A well-formed path to a missing file is not a usage mistake.
        is_missing = isinstance(error.__cause__, OSError)
        return USAGE if isinstance(error, SpecError | AddressError) and not is_missing else FAILED


def _explain(error: SpecError) -> None:
    if not error.spec:  # a file of named framers is wrong
        return
    if error.position is not None:
        shown, before = printable(error.spec), printable(error.spec[: error.position])
        click.echo(f"  {shown}\n  {' ' * len(before)}^", err=True)
    hint = "framestream framers lists all; framestream framers NAME explains one and its options"
    if os.path.isfile(error.spec):  # it is given first, or without a framer
        hint = f"{printable(error.spec)} is a file, not a framer; framestream framers lists those"
    tell("hint:", hint, "cyan")
