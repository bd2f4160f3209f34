"""Handlers that worker processes import."""

import os

from certificates import certificates

from framestream import Line, server_tls

LINE = Line()


async def answer(stream):
    """Echo lines; ``pid`` is answered with the process id, ``die`` ends the process."""
    async for line in stream.frames(LINE):
        if line == "die":
            os._exit(3)
        await stream.send(str(os.getpid()) if line == "pid" else line, LINE)


class Unstartable:
    """A handler that cannot be made again in another process."""

    def __reduce__(self):
        return _fail, ()


def _fail():
    raise SystemExit(7)


class OwnTLS:
    """Makes a context from files, in the process that needs it."""

    def __init__(self):
        files = certificates()
        self.arguments = files.certificate, files.key

    def __call__(self):
        return server_tls(*self.arguments)
