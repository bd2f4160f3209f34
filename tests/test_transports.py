"""Every transport pushes and sends alike: over sockets, pipes, the loop's own, TLS over each; on every loop."""

import asyncio
import errno
import os
import socket
import ssl

import pytest
from certificates import certificates
from conftest import LOOPS, run_on

from framestream.transport import (
    LoopTransport,
    PipeTransport,
    PolledTransport,
    SocketTransport,
    TLSSocketTransport,
    TLSTransport,
    transport_over,
)
from framestream.transport.base import is_reset, joined
from framestream.transport.descriptor import Readiness, address_of_peer, format_address

LARGE = os.urandom(1_500_000)


class Refusing(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors for others, like the Proactor loop of Windows."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError

    add_writer = add_reader

    def remove_reader(self, fd):
        raise NotImplementedError

    remove_writer = remove_reader


class Side:
    """A sink that keeps what it is told, and sends."""

    def __init__(self, transport, *, size=1 << 16):
        self.transport = transport
        self.buffer = memoryview(bytearray(size))
        self.data = bytearray()
        self.told = []  # the end, and the loss
        self.pushes = 0
        self.on_push = lambda: None
        self._changed = asyncio.Event()
        transport.attach(self, asyncio.get_running_loop())

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        assert not self.told
        assert 0 < nbytes <= len(self.buffer)
        self.data += self.buffer[:nbytes]
        self.pushes += 1
        self._changed.set()
        self.on_push()

    def eof_received(self):
        assert not self.told
        self.told.append("end")
        self._changed.set()

    def connection_lost(self, error):
        self.told.append(error)
        self._changed.set()

    def resume_writing(self):
        self._changed.set()

    async def until(self, condition):
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def act(self, action, *args):
        """Call until it need not wait."""
        while True:
            try:
                return action(*args)
            except (BlockingIOError, InterruptedError):
                self.transport.watch_writing(True)
                self._changed.clear()
                await self._changed.wait()
                self.transport.watch_writing(False)

    async def send(self, *buffers):
        while buffers:
            taken = await self.act(self.transport.send, buffers)
            assert taken
            buffers = [memoryview(b"".join(buffers))[taken:]]
            buffers = [buffer for buffer in buffers if len(buffer)]

    async def received(self, data):
        await self.until(lambda: len(self.data) >= len(data) or self.told)
        assert data == self.data
        self.data.clear()


async def passes(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    return first, second


def pipes():
    there, back = os.pipe(), os.pipe()
    return PipeTransport(back[0], there[1]), PipeTransport(there[0], back[1])


class MemoryEnd(PolledTransport):
    """One end of a pair in memory, which takes and gives only so much at a time."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.data = bytearray()
        self.ended = self.closed = False
        self.readable = Readiness(lambda: self.data or self.ended)
        self.writable = Readiness(lambda: len(self.other.data) < 10 * self.most or self.other.closed)

    def receive_into(self, buffer):
        if not self.data and not self.ended:
            raise BlockingIOError
        size = min(self.most, len(self.data), len(buffer))
        buffer[:size] = self.data[:size]
        del self.data[:size]
        self.other.writable.poke()
        return size

    def send(self, buffers):
        if self.other.closed:
            raise BrokenPipeError(errno.EPIPE, "closed")
        size = min(self.most, 10 * self.most - len(self.other.data), sum(map(len, buffers)))
        if size <= 0:
            raise BlockingIOError
        self.other.data += b"".join(buffers)[:size]
        self.other.readable.poke()
        return size

    def watch_readable(self, callback):
        self.readable.watch(self.loop, callback)

    def watch_writable(self, callback):
        self.writable.watch(self.loop, callback)

    def shutdown(self):
        self.other.ended = True
        self.other.readable.poke()

    def close(self):
        self.pause_reading()
        self.watch_writing(False)
        self.closed = True
        self.other.ended = True
        self.other.readable.poke()
        self.other.writable.poke()


def memory(most=1 << 16):
    first, second = MemoryEnd(most), MemoryEnd(most)
    first.other, second.other = second, first
    return first, second


def sockets(kind):
    return socket.socketpair() if kind == "unix" else tcp()


BELOW = {
    "tcp": lambda: map(SocketTransport, tcp()),
    "unix": lambda: map(SocketTransport, socket.socketpair()),
    "loop-tcp": lambda: map(LoopTransport, tcp()),
    "loop-unix": lambda: map(LoopTransport, socket.socketpair()),
    "pipe": pipes,
    "memory": memory,
    "drips": lambda: memory(1),
}


def tls_over(inner, **options):
    keys = certificates()
    first, second = inner
    return (
        TLSTransport(first, keys.client(), server_hostname="localhost", **options),
        TLSTransport(second, keys.server(), server_side=True, **options),
    )


def tls_sockets():
    first, second = tcp()
    keys = certificates()
    return (
        TLSSocketTransport(
            keys.client().wrap_socket(first, server_hostname="localhost", do_handshake_on_connect=False)
        ),
        TLSSocketTransport(
            keys.server().wrap_socket(second, server_side=True, do_handshake_on_connect=False)
        ),
    )


async def sides(kind, **options):
    """Return two sides joined by this kind of transport, ready to exchange bytes."""
    if kind == "tls-socket":
        pair = tls_sockets()
    elif kind.startswith("tls:"):
        pair = tls_over(BELOW[kind[4:]]())
    else:
        pair = BELOW[kind]()
    both = [Side(transport, **options) for transport in pair]
    if kind.startswith("tls"):
        await asyncio.gather(*(side.transport.shake_hands() for side in both))
    return both


PLAIN = ["tcp", "unix", "loop-tcp", "loop-unix", "pipe", "memory"]
TLS = ["tls-socket", "tls:tcp", "tls:loop-tcp", "tls:pipe", "tls:memory"]
CASES = [(loop, kind) for loop in LOOPS for kind in PLAIN + TLS]
CASES += [("refusing", kind) for kind in ("loop-tcp", "loop-unix", "tls:loop-tcp")]


@pytest.fixture
def on_loop(request):
    """Return what runs a coroutine function on the loop of this case."""
    new_loop = {**LOOPS, "refusing": Refusing}[request.param]
    return lambda main, **arguments: run_on(new_loop, main, arguments, debug=True)


every = pytest.mark.parametrize(("on_loop", "kind"), CASES, indirect=["on_loop"])
every_tls = pytest.mark.parametrize(
    ("on_loop", "kind"), [case for case in CASES if case[1].startswith("tls")], indirect=["on_loop"]
)


async def closed(*both):
    for side in both:
        side.transport.close()
    told = [list(side.told) for side in both]
    await passes()
    assert told == [side.told for side in both], "nothing is pushed after close"


@every
@pytest.mark.parametrize("sizes", [[1], [1, 100, 3], [16384, 1, 16385], [len(LARGE)]], ids=str)
def test_bytes_arrive_in_order_in_both_directions_at_once(on_loop, kind, sizes):
    async def main():
        left, right = await sides(kind)
        data, at = [], 0
        for size in sizes:
            data.append(LARGE[at : at + size])
            at += size
        left.transport.resume_reading()
        right.transport.resume_reading()
        whole = b"".join(data)
        await asyncio.gather(
            left.send(*data), right.send(whole), left.received(whole), right.received(whole)
        )
        await left.act(left.transport.shutdown)
        await right.until(lambda: right.told)
        assert ["end"] == right.told
        if kind != "pipe":
            await right.send(b"after the end of the other half")
            await left.received(b"after the end of the other half")
        await closed(left, right)

    on_loop(main)


@every
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_size_of_the_sinks_buffer_changes_nothing(on_loop, kind, size):
    async def main():
        left, right = await sides(kind, size=size)
        right.transport.resume_reading()
        await asyncio.gather(left.send(LARGE[:3000]), right.received(LARGE[:3000]))
        await left.act(left.transport.shutdown)
        await right.until(lambda: right.told)
        assert ["end"] == right.told
        await closed(left, right)

    on_loop(main)


@every
def test_a_new_transport_and_a_paused_one_push_nothing(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        await left.send(b"one")
        await passes(10)
        assert not right.data
        right.transport.resume_reading()
        assert not right.data, "not from inside the call"
        await right.received(b"one")
        right.transport.pause_reading()
        await left.send(b"two")
        await passes(10)
        assert not right.data
        right.transport.resume_reading()
        assert not right.data
        await right.received(b"two")
        await closed(left, right)

    on_loop(main)


@every
@pytest.mark.parametrize("action", ["pause_reading", "close"])
def test_what_a_sink_does_inside_a_push_holds_at_once(on_loop, kind, action):
    async def main():
        left, right = await sides(kind, size=10)
        await left.send(b"x" * 1000)
        right.on_push = getattr(right.transport, action)
        right.transport.resume_reading()
        await right.until(lambda: right.data)
        await passes(10)
        assert 1 == right.pushes
        if action == "pause_reading":
            right.on_push = lambda: None
            right.transport.resume_reading()
            await right.received(b"x" * 1000)
            await closed(right)
        await closed(left)

    on_loop(main)


@every
def test_receive_now_pushes_inside_the_call_where_that_is_possible(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        assert not right.transport.receive_now()
        await left.send(b"now")
        await passes(10)
        if right.transport.receive_now():
            assert b"now" == right.data
            right.on_push = right.transport.receive_now
            assert not right.transport.receive_now()
        else:
            assert "loop" in kind
            assert not right.data
        right.transport.resume_reading()
        right.on_push = right.transport.receive_now
        await left.send(b"!" * 50_000)
        await right.until(lambda: right.data.endswith(b"!" * 50_000))
        await closed(left, right)

    on_loop(main)


@every
def test_another_sink_takes_over_in_mid_stream(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        right.transport.resume_reading()
        await left.send(b"for the first")
        await right.received(b"for the first")
        second = Side(right.transport)
        await left.send(b"for the second")
        await second.received(b"for the second")
        assert not right.data
        await closed(left, second)

    on_loop(main)


@every
def test_sending_to_a_peer_that_is_gone_fails(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        right.transport.close()
        left.transport.resume_reading()
        with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is up to the system
            for _ in range(1000):
                await left.send(LARGE)
        assert is_reset(caught.value)
        await closed(left)

    on_loop(main)


@every
def test_closing_drops_what_the_peer_does_not_take(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        sending = asyncio.ensure_future(left.send(LARGE * 10))
        await passes(10)
        sending.cancel()
        await closed(left, right)
        assert not right.data

    on_loop(main)


@every
def test_a_transport_that_is_closed_at_once_leaves_nothing_behind(on_loop, kind):
    async def main():
        pair = tls_sockets() if kind == "tls-socket" else tls_over(BELOW[kind[4:]]()) if kind.startswith("tls") else BELOW[kind]()
        await closed(*map(Side, pair))

    on_loop(main)
