"""What becomes of standard output when nobody reads it."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def discard_output() -> None:
    """Send what is printed from here on, and what is still buffered, nowhere.

    Otherwise the interpreter would complain about it when it exits.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_full(error: OSError) -> bool:
    """Tell whether this error is about standard output: what writes to files names them in its own."""
    return error.errno in _NO_ROOM and error.filename is None


@contextmanager
def departure() -> Iterator[asyncio.Future[None]]:
    """Give a future that is done when the last reader of standard output leaves; never, if it is no pipe."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    # A descriptor of its own goes on watching the pipe when the output is discarded.
    watched = os.dup(sys.stdout.fileno())

    def tell() -> None:
        loop.remove_reader(watched)
        gone.set_result(None)

    try:
        if stat.S_ISFIFO(os.fstat(watched).st_mode):
            loop.add_reader(watched, tell)  # there is nothing to read at this end: it is an error then
        yield gone
    finally:
        loop.remove_reader(watched)
        os.close(watched)
