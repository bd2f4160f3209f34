"""Descriptors that are open already, FIFOs, terminals and devices, as channels."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from framestream.errors import AddressError, ConnectError
from framestream.transport._channel import Channel, SocketChannel
from framestream.transport._pipe_channel import PipeChannel

if TYPE_CHECKING:
    from framestream.net._urls import Descriptors, Pipe

# Seconds between two looks whether anybody reads a FIFO; the system tells only who asks.
_LOOK_AGAIN = 0.02


def adopt(endpoint: Descriptors) -> Channel:
    """Return a channel over descriptors of this process, which belong to it from here on."""
    for descriptor in (endpoint.read, endpoint.write):
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError as error:
            raise AddressError(f"descriptor {descriptor} is not open", url=str(endpoint)) from error
    if endpoint.read == endpoint.write and stat.S_ISSOCK(mode):
        return SocketChannel(socket.socket(fileno=endpoint.read))
    return PipeChannel(endpoint.read, endpoint.write)


async def open_pipe(endpoint: Pipe) -> PipeChannel:
    """Open a FIFO in one direction, anything else in both; wait until a FIFO has another end.

    For reading, that is until a writer has sent something or has come and gone: the system does not
    tell sooner, and a FIFO that nobody has opened yet looks like one that has ended.
    """
    try:
        is_fifo = stat.S_ISFIFO(os.stat(endpoint.path).st_mode)
        if not is_fifo:
            descriptor = os.open(endpoint.path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
            return PipeChannel(descriptor, descriptor)
        if endpoint.writes:
            return PipeChannel(None, await _open_for_writing(endpoint.path))
        return PipeChannel(await _open_for_reading(endpoint.path))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConnectError(f"cannot open {endpoint.path}: {reason}", url=str(endpoint)) from error


async def _open_for_writing(path: str) -> int:
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        await asyncio.sleep(_LOOK_AGAIN)


async def _open_for_reading(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()
    something = loop.create_future()

    def wake() -> None:
        loop.remove_reader(descriptor)
        something.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await something
    except BaseException:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        raise
    return descriptor
