"""Handlers that worker processes import."""

import os
import time

from certificates import certificates

from framestream import Line, server_tls

LINE = Line()


async def answer(stream):
    """Echo lines; ``pid`` is answered with the process id, ``die`` ends the process."""
    async for line in stream.frames(LINE):
        if line == "die":
            os._exit(3)
        await stream.send(str(os.getpid()) if line == "pid" else line, LINE)


async def converse(conversation):
    """Answer every frame with the process id."""
    async for _ in conversation:
        await conversation.send(str(os.getpid()))


class Unstartable:
    """A handler that cannot be made again in another process."""

    def __reduce__(self):
        return _fail, ()


def _fail():
    raise SystemExit(7)


class Fickle:
    """A handler that cannot be sent to a process, but shows it only the second time."""

    asked = 0

    async def __call__(self, stream):
        pass

    def __reduce__(self):
        self.asked += 1
        if self.asked > 1:
            raise ValueError("not again")
        return Fickle, ()


class Conditional:
    """Answers lines, but cannot be made in another process once a file exists."""

    def __init__(self, path):
        self.path = path

    async def __call__(self, stream):
        await answer(stream)

    def __reduce__(self):
        return _unless, (self.path,)


def _unless(path):
    if os.path.exists(path):
        raise SystemExit(7)
    return Conditional(path)


async def block(stream):
    """Stop the whole loop, as a handler must not."""
    await stream.send("blocking", LINE)
    time.sleep(60)


class OwnTLS:
    """Makes a context from files, in the process that needs it."""

    def __init__(self):
        files = certificates()
        self.arguments = files.certificate, files.key

    def __call__(self):
        return server_tls(*self.arguments)
