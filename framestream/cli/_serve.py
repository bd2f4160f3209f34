"""``framestream serve``: answer frames."""

from __future__ import annotations

import asyncio
import functools
import logging
import shlex
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from framestream.cli._answers import Echo, Execute, Show
from framestream.cli._entering import writing_framer
from framestream.cli._parameters import SECONDS, SIZE, SPEC
from framestream.cli._standard_output import departure
from framestream.net.serve import MOST_WORKERS
from framestream.net.serve import serve as open_server
from framestream.net.streams import server_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from framestream.decoder import OnOversize
    from framestream.net.server import Server

# Seconds for connections to end when nobody reads their frames any more.
_LAST_FRAMES = 0.5


@click.command(short_help="Serve frames: echo them, run a command for each, or print them.")
@click.argument("url")
@click.option("-f", "--framer", "spec", type=SPEC, required=True, metavar="SPEC", help="How frames are cut.")
@click.option("--echo", is_flag=True, help="Send every frame back.")
@click.option(
    "--exec", "command", metavar="COMMAND", help="Run this for each frame; its output is the answer."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "text"]),
    default="json",
    show_default=True,
    help="How to print frames, with neither of these.",
)
@click.option(
    "--max-size", type=SIZE, metavar="SIZE", default="1MiB", show_default=True, help="Largest payload."
)
@click.option(
    "--on-oversize",
    type=click.Choice(["raise", "discard", "truncate", "close"]),
    default="raise",
    show_default=True,
    help="What to do with a larger frame.",
)
@click.option("--idle-timeout", type=SECONDS, metavar="SECONDS", help="Cut who sends nothing.")
@click.option("--max-connections", type=click.IntRange(min=1), metavar="N", help="Serve so many at once.")
@click.option(
    "--workers", type=click.IntRange(0, MOST_WORKERS), default=0, metavar="N", help="Serve from N processes."
)
@click.option(
    "--cert", type=click.Path(exists=True, dir_okay=False), help="Certificate chain (PEM), for TLS."
)
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Its key, if in another file.")
@click.option(
    "--drain-timeout",
    type=SECONDS,
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long connections may take to finish when the server is told to end.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log connections that end badly.")
def serve(
    url: str,
    spec: str,
    echo: bool,
    command: str | None,
    output: str,
    max_size: int,
    on_oversize: OnOversize,
    idle_timeout: float | None,
    max_connections: int | None,
    workers: int,
    cert: str | None,
    key: str | None,
    drain_timeout: float,
    verbose: bool,
) -> None:
    r"""Listen on URL and answer the frames of every connection.

    URL is tcp://HOST:PORT (port 0: any that is free), tls://HOST:PORT, unix:PATH, fd:N or systemd:NAME.
    Where it listens is printed to standard error. SIGTERM ends it when every connection has finished what
    it had begun; so does Ctrl-C.

    COMMAND is run without a shell. Its standard input is the frame: bytes as they are, text with a newline,
    anything else as JSON; its output is read the same way, and bounded by --max-size.
    """
    if echo and command is not None:
        raise click.UsageError("--echo and --exec exclude each other")
    options: dict[str, Any] = {
        "framer": writing_framer(spec),
        "max_frame_size": max_size,
        "on_oversize": on_oversize,
        "idle_timeout": idle_timeout,
        "max_connections": max_connections,
        "workers": workers,
        "drain_timeout": drain_timeout,
        "tls": _certificate(url, cert, key),
    }
    with _log(logging.INFO if verbose else logging.WARNING):
        asyncio.run(_serve(_answer(echo, command, output, max_size), url, options))


def _certificate(url: str, cert: str | None, key: str | None) -> Callable[[], ssl.SSLContext] | None:
    if cert is None:
        if key is not None:
            raise click.UsageError("--key goes with --cert")
        if url.startswith("tls:"):
            raise click.UsageError("tls:// needs a certificate: --cert FILE")
        return None
    make = functools.partial(server_tls, cert, key)
    make()  # what is wrong with the files is told here, and not by each worker
    return make


@contextmanager
def _log(level: int) -> Iterator[None]:
    """Print what the package logs to standard error."""
    logger = logging.getLogger("framestream")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("framestream: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def _answer(echo: bool, command: str | None, output: str, max_size: int) -> Any:
    if echo:
        return Echo()
    return Show(output) if command is None else Execute(_words(command), max_size)


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise click.UsageError(f"--exec {command!r}: {str(error).lower()}") from error
    if not words:
        raise click.UsageError("--exec names no command")
    return words


async def _serve(answer: Any, url: str, options: dict[str, Any]) -> None:
    async with await open_server(answer, url, **options) as server:
        server.close_on(signal.SIGTERM)
        click.echo(f"listening on {server.url}", err=True)
        if isinstance(answer, Show):
            await _serve_a_reader(server)
        else:
            await server.serve_forever()


async def _serve_a_reader(server: Server) -> None:
    """Serve until the server is closed, or nobody reads what it prints: a closed pipe, as for any command."""
    serving = asyncio.ensure_future(server.serve_forever())
    with departure() as gone:
        await asyncio.wait([serving, gone], return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            return
    for stream in server.streams:
        stream.close()
    await server.aclose(drain_timeout=_LAST_FRAMES)
    raise BrokenPipeError
