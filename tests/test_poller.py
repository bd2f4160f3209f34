"""Sockets of one loop behind one descriptor."""

import asyncio
import gc
import os
import socket
import weakref
from contextvars import ContextVar

import pytest

from framestream import IOStream, Line
from framestream.transport._channel import SocketChannel

who = ContextVar("who", default="nobody")


@pytest.fixture
def pairs():
    """Connected sockets: what is sent into the first of a pair arrives in the second."""
    made = [socket.socketpair() for _ in range(4)]
    for _, receiver in made:
        receiver.setblocking(False)
    yield made
    for sender, receiver in made:
        sender.close()
        receiver.close()


@pytest.fixture
def loop():
    """A loop that is not in debug mode: there, the loop itself watches."""
    made = asyncio.SelectorEventLoop()
    yield made
    made.close()


def in_one_pass(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()


def watching(loop, pairs, callback):
    """Call `callback` with the index of each pair whose receiver is readable."""
    channels = [SocketChannel(receiver) for _, receiver in pairs]
    for index, channel in enumerate(channels):
        channel.watch_read(loop, lambda index=index: callback(index, channels))
        pairs[index][0].send(b"x")
    return channels


def descriptors():
    return len(os.listdir("/dev/fd"))


def test_everyone_who_is_readable_is_told_until_what_came_is_received(loop, pairs):
    told = []
    watching(loop, pairs, lambda index, channels: (told.append(index), channels[index].receive(1)))
    in_one_pass(loop)
    in_one_pass(loop)
    assert [0, 1, 2, 3] == sorted(told)


def test_an_exception_reaches_the_loops_handler_and_keeps_nobody_from_their_turn(loop, pairs):
    told, contexts = [], []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    def callback(index, channels):
        channels[index].receive(1)
        told.append(index)
        if index == 1:
            raise LookupError("mine")

    watching(loop, pairs, callback)
    in_one_pass(loop)
    assert [0, 1, 2, 3] == sorted(told)
    assert ["mine"] == [str(context["exception"]) for context in contexts]


def test_an_interrupt_leaves_the_loop_and_the_rest_is_told_later(loop, pairs):
    told = []

    def callback(index, channels):
        told.append(index)
        channels[index].receive(1)
        if len(told) == 1:
            raise KeyboardInterrupt

    watching(loop, pairs, callback)
    with pytest.raises(KeyboardInterrupt):
        in_one_pass(loop)
    in_one_pass(loop)
    assert [0, 1, 2, 3] == sorted(told)


def test_who_stops_watching_is_not_told_even_if_already_found_ready(loop, pairs):
    told = []

    def callback(index, channels):
        told.append(index)
        for channel in channels:
            channel.watch_read(loop, None)

    watching(loop, pairs, callback)
    in_one_pass(loop)
    assert 1 == len(told)


def test_watching_again_replaces_the_callback(loop, pairs):
    told = []
    channels = watching(loop, pairs, lambda *_: told.append("old"))
    channels[0].watch_read(loop, lambda: (told.append("new"), channels[0].watch_read(loop, None)))
    for channel in channels[1:]:
        channel.watch_read(loop, None)
    in_one_pass(loop)
    assert ["new"] == told


def test_nothing_is_left_open_when_nobody_watches(loop, pairs):
    before = descriptors()
    channels = watching(loop, pairs, lambda *_: None)
    assert before + 1 >= descriptors(), "one for all of them, if any"
    for channel in channels:
        channel.watch_read(loop, None)
    in_one_pass(loop)
    assert before == descriptors()
    channels[0].watch_read(loop, None)  # and not watching twice is no mistake


def test_a_socket_that_somebody_has_closed_is_let_go_of_and_nobody_else_is(loop, pairs):
    told = []
    before = descriptors()
    channels = watching(loop, pairs[:3], lambda index, _: told.append(index))
    pairs[0][1].close()
    pairs[1][1].close()
    again = SocketChannel(socket.fromfd(pairs[3][1].fileno(), socket.AF_UNIX, socket.SOCK_STREAM))
    again.watch_read(loop, lambda: told.append("again"))
    pairs[3][0].send(b"x")
    channels[0].watch_read(loop, None)
    channels[1].watch_read(loop, None)
    in_one_pass(loop)
    assert {2, "again"} == set(told)
    for channel in (channels[2], again):
        channel.watch_read(loop, None)
    in_one_pass(loop)
    again.close()
    assert before - 2 == descriptors()


def test_a_loop_that_is_closed_and_forgotten_takes_its_watchers_along(pairs):
    gc.collect()
    before = descriptors()
    loop = asyncio.SelectorEventLoop()
    watching(loop, pairs, lambda *_: None)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
    assert before == descriptors()


@pytest.mark.parametrize("debug", [False, True])
def test_a_callback_runs_in_the_context_it_was_given_in(debug, pairs):
    seen = {}

    def note(name):
        return lambda *_: seen.setdefault(name, who.get())

    async def main():
        first, second = (IOStream(receiver) for _, receiver in pairs[:2])
        who.set("nobody in particular")
        waiting = asyncio.ensure_future(second.read(Line()))
        await asyncio.sleep(0)  # the one that watches first has another context
        who.set("frames")
        first.on_frame(Line(), note("frame"))
        who.set("end")
        closed = asyncio.Event()
        first.set_close_callback(lambda: (note("close")(), closed.set()))
        who.set("write")
        first.write(b"x", callback=note("written"))
        who.set("later")
        pairs[0][0].send(b"line\n")
        pairs[1][0].send(b"a\nb\nc\n")
        assert "a" == await waiting
        who.set("read")
        read = asyncio.Event()
        second.read(Line(), callback=lambda line: (note("read")(), read.set()))
        await read.wait()
        who.set("part")
        read.clear()
        second.read(Line(), streaming_callback=note("part"), callback=lambda _: read.set())
        await read.wait()
        pairs[0][0].close()
        await closed.wait()
        first.close()
        second.close()

    asyncio.run(main(), debug=debug)
    assert {
        "frame": "frames",
        "close": "end",
        "written": "write",
        "read": "read",
        "part": "part",
    } == seen
