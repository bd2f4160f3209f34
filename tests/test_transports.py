"""Every transport pushes and sends alike: sockets, pipes, the loop's own, TLS over each; on every loop."""

import asyncio
import errno
import io
import os
import pty
import socket
import ssl
import tty

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
from framestream.transport.descriptor import Readiness, format_address

LARGE = os.urandom(700_000)


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
    "drips": lambda: memory(30),
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


KINDS = ["unix", "loop-tcp", "pipe", "tls-socket", "tls:tcp", "tls:loop-unix", "tls:pipe"]
CASES = [(loop, kind) for loop in LOOPS for kind in KINDS if loop == "asyncio" or "loop" not in kind]
CASES += [("asyncio", "memory"), ("asyncio", "tls:memory")]
CASES += [("refusing", "loop-unix"), ("refusing", "tls:loop-tcp")]


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
@pytest.mark.parametrize("sizes", [[1, 100, 3, 16384, 1, 16385], [len(LARGE)]], ids=str)
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
        await asyncio.gather(left.send(*data), right.send(whole), left.received(whole), right.received(whole))
        await left.act(left.transport.shutdown)
        await right.until(lambda: right.told)
        assert ["end"] == right.told
        if kind != "pipe":
            await right.send(b"after the end of the other half")
            await left.received(b"after the end of the other half")
        await closed(left, right)

    on_loop(main)


@every
def test_bytes_arrive_in_a_small_buffer_of_the_sink(on_loop, kind):
    async def main():
        left, right = await sides(kind, size=7)
        right.transport.resume_reading()
        await asyncio.gather(left.send(LARGE[:1000]), right.received(LARGE[:1000]))
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
        pair = (
            tls_sockets()
            if kind == "tls-socket"
            else tls_over(BELOW[kind[4:]]())
            if kind.startswith("tls")
            else BELOW[kind]()
        )
        await closed(*map(Side, pair))

    on_loop(main)


# TLS


@every_tls
def test_a_connection_that_ends_without_goodbye_is_lost_after_all_that_arrived(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        await left.send(b"all of it?")
        if kind == "tls-socket":
            left.transport.socket.shutdown(socket.SHUT_WR)
        else:
            await left.act(left.transport._inner.shutdown)
        right.transport.resume_reading()
        await right.until(lambda: right.told)
        assert b"all of it?" == right.data
        if kind == "tls-socket":  # a socket of Python's takes it for an end, unless it is told not to
            assert ["end"] == right.told
        else:
            assert isinstance(right.told[0], ssl.SSLEOFError)
            assert is_reset(right.told[0])
        await closed(left, right)

    on_loop(main)


def pair_shaken(inner, **options):
    """Return two sides with TLS over this pair."""

    async def shaken():
        both = [Side(transport) for transport in tls_over(inner, **options)]
        await asyncio.gather(*(side.transport.shake_hands() for side in both))
        return both

    return shaken()


async def test_a_missing_goodbye_can_be_taken_for_an_end():
    left, right = await pair_shaken(memory(), truncation_is_end=True)
    await left.send(b"all of it")
    left.transport._inner.shutdown()
    right.transport.resume_reading()
    await right.until(lambda: right.told)
    assert (b"all of it", ["end"]) == (right.data, right.told)


@pytest.mark.parametrize("before", [b"", b"good"])
async def test_a_spoilt_record_is_a_lost_connection_after_what_came_before_it(before):
    left, right = await pair_shaken(memory())
    if before:
        await left.send(before)
    await Side.send(Bare(left.transport._inner), b"\x17\x03\x03\x00\x20" + bytes(32))
    right.transport.resume_reading()
    await right.until(lambda: right.told)
    assert before == right.data
    assert isinstance(right.told[0], ssl.SSLError)
    assert not is_reset(right.told[0])
    with pytest.raises(OSError):  # noqa: PT011 - the engine's word for it
        await right.send(b"anything")
    left.transport.resume_reading()
    await left.until(lambda: left.told)
    assert "alert" in str(left.told[0]).lower(), "the peer is told why"


class Bare:
    """Send under the TLS of a side."""

    act = Side.act

    def __init__(self, transport):
        self.transport = transport


@every_tls
@pytest.mark.parametrize("whose", ["wrong name", "no tls", "leaves", "closes"])
def test_a_handshake_that_fails_says_so_to_both(on_loop, kind, whose):
    if kind == "tls-socket":
        return
    kind = kind[4:]

    async def main():
        near, far = BELOW[kind]()
        client = Side(
            TLSTransport(
                near,
                certificates().client(),
                server_hostname={"wrong name": "a.test"}.get(whose, "localhost"),
            )
        )
        shaking = client.transport.shake_hands()
        if whose == "closes":
            client.transport.close()
            assert isinstance(shaking.exception(), ConnectionAbortedError)
            await closed(Side(far))
        elif whose == "wrong name":
            server = Side(TLSTransport(far, certificates().server(), server_side=True))
            failed, refused = await asyncio.gather(
                shaking, server.transport.shake_hands(), return_exceptions=True
            )
            assert isinstance(failed, ssl.SSLCertVerificationError)
            server.transport.resume_reading()
            if refused is None:  # in TLS 1.3 a server may be done by then
                await server.until(lambda: server.told)
                refused = server.told[0]
            assert "alert" in str(refused).lower()
            await closed(client, server)
        else:
            server = Side(far)
            if whose == "no tls":
                await server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            else:
                far.close()
            with pytest.raises(OSError) as caught:  # noqa: PT011 - ssl.SSLError is one
                await shaking
            assert is_reset(caught.value) == (whose == "leaves")
            assert not client.told
            client.transport.close()
            if whose == "no tls":
                far.close()

    on_loop(main)


@pytest.mark.parametrize("early", [False, True])
async def test_data_in_one_piece_with_the_end_of_the_handshake_is_pushed_after_it(early):
    near, far = memory()
    (client, server) = (Side(transport) for transport in tls_over((near, far)))
    order = []
    server.on_push = lambda: order.append("data")
    hello = server.transport.shake_hands()
    hello.add_done_callback(lambda _: order.append("handshake"))
    if early:
        server.transport.resume_reading()
    await client.transport.shake_hands()
    await client.send(b"at once")
    client.transport.shutdown()
    await hello
    if not early:
        server.transport.resume_reading()
        assert not server.data
    await server.until(lambda: server.told)
    assert (b"at once", ["end"]) == (server.data, server.told)
    assert ["handshake", "data"] == order


async def test_what_was_received_before_tls_belongs_to_the_handshake():
    near, far = memory()
    client = Side(TLSTransport(near, certificates().client(), server_hostname="localhost"))
    shaking = client.transport.shake_hands()
    plain = Side(far)
    far.resume_reading()
    await plain.until(lambda: len(plain.data) > 100)
    far.pause_reading()
    tls = TLSTransport(far, certificates().server(), server_side=True, received=bytes(plain.data))
    server = Side(tls)
    await asyncio.gather(server.transport.shake_hands(), shaking)
    await client.send(b"secret")
    tls.resume_reading()
    await server.received(b"secret")


@pytest.mark.parametrize("kind", ["drips", "tls-socket"])
async def test_without_a_handshake_the_first_bytes_bring_it_about(kind):
    pair = tls_sockets() if kind == "tls-socket" else tls_over(BELOW[kind]())
    left, right = map(Side, pair)
    left.transport.resume_reading()
    right.transport.resume_reading()
    await asyncio.gather(
        left.send(b"hello"), right.send(b"you"), left.received(b"you"), right.received(b"hello")
    )
    await closed(left, right)


@pytest.mark.parametrize("peer", ["reads", "leaves"])
async def test_nobody_waits_for_the_tickets_of_a_server(peer):
    near, far = memory()
    client, server = (Side(transport) for transport in tls_over((near, far)))
    shaking = server.transport.shake_hands()
    await client.transport.shake_hands()
    far.most = 1  # for what the server sends from here on, tickets first
    await shaking
    server.transport.resume_reading()
    if peer == "reads":
        client.transport.resume_reading()
        await client.send(b"hello")
        await server.received(b"hello")
        await server.send(b"you")
        await client.received(b"you")
    else:
        await client.send(b"last words")
        client.transport.shutdown()
        client.transport.close()
        await server.received(b"last words")
        with pytest.raises(BrokenPipeError):
            await server.send(b"too late")


@every_tls
def test_half_close_keeps_what_the_peer_goes_on_sending(on_loop, kind):
    async def main():
        left, right = await sides(kind, size=1000)
        sending = asyncio.ensure_future(right.send(LARGE))
        left.on_push = left.transport.pause_reading
        left.transport.resume_reading()
        await left.until(lambda: left.data)
        await left.act(left.transport.shutdown)
        left.on_push = lambda: None
        left.transport.resume_reading()
        right.transport.resume_reading()
        await right.until(lambda: right.told)
        await sending
        await left.received(LARGE)
        await right.act(right.transport.shutdown)
        await left.until(lambda: left.told)
        assert (["end"], ["end"]) == (left.told, right.told)
        await closed(left, right)

    on_loop(main)


@every_tls
def test_goodbyes_may_cross(on_loop, kind):
    async def main():
        both = await sides(kind)
        for side in both:
            await side.act(side.transport.shutdown)
        await passes(10)
        for side in both:
            side.transport.resume_reading()
            await side.until(lambda side=side: side.told)
            assert ["end"] == side.told
        await closed(*both)

    on_loop(main)


async def test_a_handshake_that_cannot_be_sent_fails_and_nothing_is_received_during_one():
    near, far = memory()
    waiting = Side(TLSTransport(far, certificates().server(), server_side=True))
    shaking = waiting.transport.shake_hands()
    assert not waiting.transport.receive_now()
    far.close()
    client = Side(TLSTransport(near, certificates().client(), server_hostname="localhost"))
    with pytest.raises(BrokenPipeError):
        await client.transport.shake_hands()
    shaking.cancel()
    waiting.transport.close()


class Reluctant:
    """A TLS engine that first wants something else, some times."""

    def __init__(self, transport, times, **wants):
        self._transport, self._tls, self._times, self._wants = transport, transport.tls, times, wants
        transport.tls = self

    def __getattr__(self, name):
        method = getattr(self._tls, name)
        if name not in self._wants:
            return method

        def reluctant(*args):
            if self._times:
                self._times -= 1
                raise self._wants[name]
            return method(*args)

        return reluctant


@every_tls
def test_a_write_that_wants_to_read_waits_for_the_peer_and_loses_nothing(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        Reluctant(left.transport, 3, write=ssl.SSLWantReadError())
        right.transport.resume_reading()
        sending = asyncio.ensure_future(left.send(b"hello"))
        news = 0
        while not sending.done():
            await right.send(b"news")
            news += 1
            await passes()
        await right.received(b"hello")
        assert not left.data, "it is not reading"
        left.transport.resume_reading()
        await left.received(b"news" * news)
        await closed(left, right)

    on_loop(main)


@pytest.mark.parametrize("what", ["read", "write", "do_handshake", "unwrap"])
async def test_an_engine_that_wants_to_write_first_is_asked_again(what):
    if what == "do_handshake":
        left, right = map(Side, tls_sockets())
        Reluctant(left.transport, 2, do_handshake=ssl.SSLWantWriteError())
        await asyncio.gather(*(side.transport.shake_hands() for side in (left, right)))
    else:
        left, right = await sides("tls-socket")
        Reluctant(left.transport, 2, **{what: ssl.SSLWantWriteError()})
    left.transport.resume_reading()
    right.transport.resume_reading()
    await asyncio.gather(left.send(b"to"), right.send(b"fro"), left.received(b"fro"), right.received(b"to"))
    await left.act(left.transport.shutdown)
    await right.until(lambda: right.told)
    assert ["end"] == right.told
    await closed(left, right)


@pytest.mark.parametrize("most", [100, 1 << 16])
async def test_tls_over_tls_however_the_bytes_travel(most):
    left, right = map(Side, tls_over(tls_over(memory(most))))
    right.transport.resume_reading()
    left.transport.resume_reading()
    shaking = [side.transport.shake_hands() for side in (left, right)]
    await asyncio.gather(*shaking)
    await asyncio.gather(left.send(LARGE[:5000]), right.received(LARGE[:5000]))
    await left.act(left.transport.shutdown)
    await right.until(lambda: right.told)
    assert ["end"] == right.told


async def test_an_error_from_below_comes_after_what_is_decrypted_and_when_it_is_wanted():
    left, right = await pair_shaken(memory())
    inner = right.transport._inner
    right.on_push = right.transport.pause_reading
    right.transport.resume_reading()
    await left.send(b"news")
    await right.received(b"news")
    reset = ConnectionResetError(errno.ECONNRESET, "gone")
    right.transport.connection_lost(reset)
    await passes()
    assert not right.told
    right.transport.resume_reading()
    assert not right.told
    await passes()
    assert [reset] == right.told
    inner.close()


def test_a_context_that_checks_host_names_must_be_given_one():
    near, _ = memory()
    with pytest.raises(ValueError, match="pass server_hostname"):
        TLSTransport(near, certificates().client())
    assert not near.closed


# The loop's own transports


async def test_before_the_loop_has_made_its_transport_sending_has_to_wait():
    left, right = (Side(LoopTransport(sock)) for sock in tcp())
    for act in (left.transport.shutdown, lambda: left.transport.send([b"x"])):
        with pytest.raises(BlockingIOError):
            act()
    right.transport.resume_reading()
    await left.send(b"x")
    await right.received(b"x")
    await closed(left, right)


async def test_a_socket_that_the_loop_does_not_take_is_a_lost_connection():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    side = Side(LoopTransport(sock))
    side.transport.resume_reading()
    await side.until(lambda: side.told)
    assert isinstance(side.told[0], ValueError)
    assert -1 == sock.fileno()
    with pytest.raises(ValueError, match="Stream Socket"):
        await side.send(b"x")
    side.transport.close()


async def test_a_reset_is_told_and_raised_again():
    first, second = tcp()
    side = Side(LoopTransport(first))
    side.transport.resume_reading()
    await passes()
    second.send(b"x")
    await side.received(b"x")
    second.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    second.close()
    await side.until(lambda: side.told)
    assert is_reset(side.told[0])
    for act in (side.transport.shutdown, lambda: side.transport.send([b"x"])):
        with pytest.raises(ConnectionResetError):
            act()
    side.transport.close()


@pytest.mark.parametrize("attached", ["before", "after"])
async def test_without_a_socket_it_is_a_protocol_of_whatever_makes_transports(attached):
    loop = asyncio.get_running_loop()
    first, second = tcp()
    transport = LoopTransport()
    side = Side(transport) if attached == "before" else None
    first.setblocking(False)
    await loop.create_connection(lambda: transport, sock=first)
    side = side or Side(transport)
    second.send(b"hello")
    transport.resume_reading()
    await side.received(b"hello")
    await side.send(b"you")
    assert b"you" == second.recv(10)
    transport.discard()
    assert (None, "") == (transport.socket, transport.peer)
    await closed(side)
    second.close()


# Descriptors


async def test_a_regular_file_is_read_to_its_end_and_written(tmp_path):
    path = tmp_path / "file"
    writer = Side(PipeTransport(None, os.open(path, os.O_WRONLY | os.O_CREAT)))
    writer.transport.resume_reading()  # there is nothing to read, and nobody to go away
    writer.transport.watch_writing(True)
    writer.transport.watch_writing(False)
    await writer.send(LARGE, b"end")
    writer.transport.shutdown()
    writer.transport.shutdown()
    writer.transport.close()
    reader = Side(PipeTransport(os.open(path, os.O_RDONLY)))
    reader.transport.resume_reading()
    reader.transport.pause_reading()
    reader.transport.resume_reading()
    await reader.until(lambda: reader.told)
    assert (LARGE + b"end", ["end"]) == (reader.data, reader.told)
    with pytest.raises(BrokenPipeError):
        reader.transport.send([b"x"])
    reader.transport.close()


async def test_a_terminal_whose_other_side_is_gone_is_at_its_end():
    mother, child = pty.openpty()
    tty.setraw(child)
    side = Side(PipeTransport(mother, mother))
    side.transport.resume_reading()
    os.write(child, b"hello")
    await side.received(b"hello")
    with pytest.raises(OSError, match="half closed"):
        side.transport.shutdown()
    os.close(child)
    await side.until(lambda: side.told)
    assert ["end"] == side.told
    side.transport.close()


async def test_an_error_of_a_descriptor_is_a_lost_connection(tmp_path):
    side = Side(PipeTransport(os.open(tmp_path, os.O_RDONLY)))
    side.transport.resume_reading()
    await side.until(lambda: side.told)
    assert isinstance(side.told[0], IsADirectoryError)
    side.transport.close()
    nowhere = Side(PipeTransport(None))
    nowhere.transport.resume_reading()
    nowhere.transport.watch_writing(True)
    assert nowhere.transport.receive_now()
    assert ["end"] == nowhere.told


async def test_a_socket_sends_a_file_without_copying_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    left, right = await sides("unix")
    with path.open("rb") as file, pytest.raises(NotImplementedError):
        right.transport.resume_reading()
        at = 0
        while sent := await left.act(left.transport.send_file, file, at, len(LARGE)):
            at += sent
        await right.received(LARGE)
        await left.act(left.transport.send_file, io.BytesIO(), 0, 1)
    left.transport.close()
    assert "" == left.transport.peer, "nobody has asked in time"
    right.transport.close()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/x.sock", "/run/x.sock"),
        (b"\0abstract", "\0abstract"),
        ("", "unnamed"),
    ],
)
def test_addresses_read_as_people_write_them(address, text):
    assert text == format_address(address)


# What they are


@every
def test_a_transport_tells_what_it_is(on_loop, kind):
    async def main():
        left, right = await sides(kind)
        names = kind.partition(":")[2] or kind
        has_socket = "tcp" in names or "unix" in names or "socket" in names
        assert has_socket == isinstance(left.transport.socket, socket.socket)
        assert kind.startswith("tls") == left.transport.needs_close_notify
        assert kind.startswith("tls") == (left.transport.tls is not None)
        if "tcp" in names or "socket" in names:
            assert left.transport.peer.startswith("127.0.0.1:")
        elif "unix" in names:
            assert "unnamed" == left.transport.peer
        await left.send(b"never read")
        right.transport.discard()
        await closed(left, right)

    on_loop(main)


@pytest.mark.parametrize(
    ("loop", "kind"),
    [("asyncio", SocketTransport), ("uvloop", SocketTransport), ("refusing", LoopTransport)],
)
def test_a_socket_gets_the_transport_that_suits_the_loop(loop, kind):
    async def main():
        for sock in tcp():
            transport = transport_over(sock)
            assert kind is type(transport)
            await closed(Side(transport))

    run_on({**LOOPS, "refusing": Refusing}[loop], main, {}, debug=True)


async def test_a_wrapped_socket_is_left_to_its_engine():
    first, second = tcp()
    with second:
        wrapped = certificates().server().wrap_socket(first, server_side=True, do_handshake_on_connect=False)
        transport = transport_over(wrapped)
        assert isinstance(transport, TLSSocketTransport)
        await closed(Side(transport))


@pytest.mark.parametrize(
    ("buffers", "size", "expected"),
    [
        ([b"abc"], 3, b"abc"),
        ([b"abc"], 2, b"ab"),
        ([b"a", b"bc"], 3, b"abc"),
        ([b"a", b"bc"], 2, b"a"),
        ([memoryview(b"abc"), b"d"], 9, b"abcd"),
    ],
)
def test_buffers_are_joined_up_to_a_size(buffers, size, expected):
    assert expected == joined(buffers, size)
