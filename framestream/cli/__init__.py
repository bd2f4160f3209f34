"""Look at framers, plugins and streams from a shell. Needs the extra ``framestream[cli]``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from framestream._build import COMPILED
from framestream.cli._failures import CLOSED_PIPE, HANDLED, INTERRUPTED, report
from framestream.cli._standard_output import discard_output, is_full
from framestream.registry.lookup import plugins
from framestream.registry.named import find_config

_COMMANDS = ("cut", "connect", "serve", "framers", "check", "plugins", "new")


class _Commands(click.Group):
    """The commands, each imported when it is used; Ctrl-C and a closed pipe end them quietly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"framestream.cli._{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            discard_output()
            raise click.exceptions.Exit(CLOSED_PIPE) from None
        except OSError as error:
            if not is_full(error):
                raise click.ClickException(str(error)) from error
            discard_output()
            raise click.ClickException(f"standard output: {error.strerror}") from error


@click.group(
    cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(
    package_name="framestream", message="%(package)s %(version)s" + (", compiled" if COMPILED else "")
)
@click.option(
    "-p",
    "selection",
    multiple=True,
    metavar="[no:]NAME",
    help="Load a plugin so that its hooks are called, or disable one. May be repeated.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    envvar="FRAMESTREAM_CONFIG",
    help="TOML file with named framers.  [default: the pyproject.toml here or above]",
)
@click.pass_context
def commands(context: click.Context, selection: tuple[str, ...], config: str | None) -> None:
    """Cut byte streams into protocol frames, with the framing itself as a plugin."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        return
    path = config or find_config(Path.cwd())
    if path is not None:
        plugins.load_config(path)
    for name in selection:
        if name.startswith("no:"):
            plugins.disable(name.removeprefix("no:"), reason=f"-p {name}")
        else:
            plugins.load(name)


def run(arguments: Sequence[str]) -> int:
    """Run the command line with these arguments; return the exit status."""
    try:
        status: int | None = commands.main(list(arguments), prog_name="framestream", standalone_mode=False)
    except HANDLED as error:
        return report(error)
    return status or 0
