"""Poller: the sockets of a loop behind one descriptor in the loop's own selector."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from weakref import WeakKeyDictionary, ref

# What is dispatched before the loop's other work gets its turn.
_MOST_AT_ONCE = 256


class Poller:
    """Call back from a loop when sockets are readable, as ``loop.add_reader`` does, for less.

    A loop in Python looks up every descriptor that is ready, and makes it a handle in a queue: 0.6 us an
    event, of the 4.5 that receiving and answering a message takes it in all. Here the loop has one
    descriptor, an epoll that is readable when any of its sockets is, and one call tells them all. An idle
    connection takes a third of a KiB less, too. A connection that is alone pays 0.5 us for the further
    system call.

    It lives for as long as it watches something. Callbacks run in an empty context.
    """

    __slots__ = ("__weakref__", "_callbacks", "_epoll", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], object]] = {}
        # Not in the context of whoever comes first: it would be that of all others.
        Context().run(loop.add_reader, self._epoll.fileno(), self._dispatch)
        _pollers[loop] = ref(self)

    def add(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call back whenever the descriptor is readable."""
        with suppress(FileExistsError):
            self._epoll.register(descriptor, select.EPOLLIN)
        self._callbacks[descriptor] = callback

    def remove(self, descriptor: int) -> bool:
        """Call back no longer; return False if this has not been its poller."""
        if descriptor < 0:
            self._forget_closed()
        elif self._callbacks.pop(descriptor, None) is None:
            return False
        else:
            with suppress(OSError):  # it was closed by its number
                self._epoll.unregister(descriptor)
        if not self._callbacks:
            del _pollers[self._loop]
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        return True

    def _forget_closed(self) -> None:
        # Somebody has closed a socket that was watched. It does not know its descriptor any more, and that
        # may be another's by now; but the epoll knows which it has.
        for descriptor in list(self._callbacks):
            try:
                self._epoll.modify(descriptor, select.EPOLLIN)
            except OSError:
                del self._callbacks[descriptor]

    def _dispatch(self) -> None:
        find = self._callbacks.get
        for descriptor, _ in self._epoll.poll(0, _MOST_AT_ONCE):
            callback = find(descriptor)
            if callback is None:  # one that was called before it has put an end to it
                continue
            try:
                callback()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as the loop does; the others get their turn
                message = f"Exception in callback {callback}"
                self._loop.call_exception_handler({"message": message, "exception": error})


# The loop keeps its poller alive, as its reader. A strong reference here would keep the loop.
_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[Poller]] = WeakKeyDictionary()


def _poller_of(loop: asyncio.AbstractEventLoop) -> Poller | None:
    found = _pollers.get(loop)
    return None if found is None else found()


def watch_readable(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], object] | None
) -> None:
    """Call back from the loop whenever the socket is readable; None: no longer."""
    poller = _poller_of(loop)
    if callback is None:
        if poller is None or not poller.remove(sock.fileno()):
            loop.remove_reader(sock)
    elif _is_worth_it(loop):
        (poller or Poller(loop)).add(sock.fileno(), callback)
    else:
        loop.add_reader(sock, callback)


def _is_worth_it(loop: asyncio.AbstractEventLoop) -> bool:
    # Loops made otherwise do this in C, have no descriptors, or mean something by what they do. In debug
    # mode the loop itself tells which callback was slow.
    return isinstance(loop, asyncio.SelectorEventLoop) and hasattr(select, "epoll") and not loop.get_debug()
