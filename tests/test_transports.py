"""Every transport pushes and sends alike: sockets, pipes, the loop's own, TLS over each; on every loop."""

import asyncio
import errno
import os
import pty
import socket
import ssl
import tempfile
from contextlib import asynccontextmanager, closing

import pytest
from certificates import certificates
from conftest import BY_NAME
from loops import LoopWithoutPolling
from stream_pairs import begun, passes, pipe_transports, raised, refused, reset_on_close, tcp_sockets, until

from framestream import AddressError, IOStream, connect, serve
from framestream.testing.memory import Wire, memory_transport_pair
from framestream.transport import LoopTransport, PipeTransport, SocketTransport, TLSTransport, transport_over
from framestream.transport.base import is_reset, joined
from framestream.transport.descriptor import format_address

LARGE = os.urandom(700_000)


class Side:
    """A sink that keeps what it is told, and sends."""

    def __init__(self, transport, *, size=1 << 16, reads=False):
        self.transport = transport
        self.buffer = memoryview(bytearray(size))
        self.data = bytearray()
        self.told = []  # the end, and the loss
        self.pushes = 0
        self.takes = False
        self.closed = False
        self.on_push = lambda: None
        transport.attach(self, asyncio.get_running_loop())
        if reads:
            transport.resume_reading()

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        assert not self.told
        assert 0 < nbytes <= len(self.buffer)
        self.data += self.buffer[:nbytes]
        self.pushes += 1
        self.on_push()

    def eof_received(self):
        assert not self.told
        self.told.append("end")

    def connection_lost(self, error):
        self.told.append(error)

    def resume_writing(self):
        self.takes = True

    async def act(self, action, *args):
        """Call until it need not wait."""
        while True:
            try:
                return action(*args)
            except (BlockingIOError, InterruptedError):
                self.takes = False
                self.transport.watch_writing(True)
                await until(lambda: self.takes)
                self.transport.watch_writing(False)

    async def send(self, *buffers):
        while buffers:
            taken = await self.act(self.transport.send, buffers)
            assert taken
            rest = memoryview(b"".join(buffers))[taken:]
            buffers = [rest] if rest else []

    async def shutdown(self):
        await self.act(self.transport.shutdown)

    async def end(self):
        await until(lambda: self.told)
        return self.told

    def close(self):
        if not self.closed:
            self.closed = True
            self.transport.close()

    async def received(self, data):
        await until(lambda: len(self.data) >= len(data) or self.told)
        assert data == self.data
        self.data.clear()


def read(*both):
    for side in both:
        side.transport.resume_reading()


def memory():
    """Return a pair in memory, which takes and gives only so much at a time."""
    wire = Wire(chunks=[1000], takes=[1000], capacity=10_000)
    return memory_transport_pair(wire, wire)


BELOW = {
    "tcp": lambda: map(SocketTransport, tcp_sockets()),
    "unix": lambda: map(SocketTransport, socket.socketpair()),
    "loop-tcp": lambda: map(LoopTransport, tcp_sockets()),
    "loop-unix": lambda: map(LoopTransport, socket.socketpair()),
    "pipe": pipe_transports,
    "memory": memory,
}


def tls_over(inner, **options):
    keys = certificates()
    first, second = inner
    return (
        TLSTransport(first, keys.client(), server_hostname="localhost", **options),
        TLSTransport(second, keys.server(), server_side=True, **options),
    )


def pair_of(kind):
    """Return two transports of this kind, joined; below TLS there may be TLS."""
    return tls_over(pair_of(kind[4:])) if kind.startswith("tls:") else BELOW[kind]()


@asynccontextmanager
async def sides(kind, **options):
    """Give two sides over transports of this kind, ready to exchange bytes, and close them at the end."""
    both = [Side(transport, **options) for transport in pair_of(kind)]
    if both[0].transport.tls is not None:
        await asyncio.gather(*(side.transport.shake_hands() for side in both))
    yield both
    await closed(*both)


CASES = {
    "asyncio": "unix pipe memory tls:tcp tls:pipe tls:memory tls:tls:memory",
    "uvloop": "unix pipe loop-tcp loop-unix tls:tcp",
    "transports": "loop-tcp loop-unix tls:loop-tcp",
}
KINDS = [f"{loop} {kind}" for loop, kinds in CASES.items() if loop in BY_NAME for kind in kinds.split()]


def on_loops(kinds):
    """Run a test on the loop of each of these kinds."""
    pairs = [kind.split() for kind in kinds]
    return pytest.mark.parametrize(("event_loop_name", "kind"), pairs, indirect=["event_loop_name"])


every = on_loops(KINDS)
every_tls = on_loops([kind for kind in KINDS if " tls" in kind])


async def closed(*both):
    for side in both:
        side.close()
    told = [list(side.told) for side in both]
    await passes()
    assert told == [side.told for side in both], "nothing is pushed after close"


@every
@pytest.mark.parametrize(("sizes", "room"), [
    ([1, 100, 3, 16384, 1, 16385], 1 << 16), ([len(LARGE)], 1 << 16), ([1, 999], 7),
], ids=str)  # fmt: skip
async def test_bytes_arrive_in_order_in_both_directions_at_once(kind, sizes, room):
    async with sides(kind) as (left, right):
        data, whole = [], LARGE[: sum(sizes)]
        for size in sizes:
            data.append(LARGE[sum(map(len, data)) :][:size])
        right.buffer = right.buffer[:room]
        read(left, right)
        await asyncio.gather(left.send(*data), right.send(whole), left.received(whole), right.received(whole))
        await left.shutdown()
        assert ["end"] == await right.end()
        if kind != "pipe":
            await right.send(b"after the end of the other half")
            await left.received(b"after the end of the other half")


@every
async def test_a_new_transport_and_a_paused_one_push_nothing(kind):
    async with sides(kind) as (left, right):
        await left.send(b"one")
        await passes(10)
        assert not right.data
        read(right)
        assert not right.data, "not from inside the call"
        await right.received(b"one")
        right.transport.pause_reading()
        await left.send(b"two")
        await passes(10)
        assert not right.data
        read(right)
        assert not right.data
        await right.received(b"two")


@every
@pytest.mark.parametrize("action", ["pause_reading", "close"])
async def test_what_a_sink_does_inside_a_push_holds_at_once(kind, action):
    async with sides(kind) as (left, right):
        right.buffer = right.buffer[:10]
        await left.send(b"x" * 1000)
        right.on_push = right.close if action == "close" else right.transport.pause_reading
        read(right)
        await until(lambda: right.data)
        await passes(10)
        assert 1 == right.pushes
        if action == "pause_reading":
            right.on_push = lambda: None
            read(right)
            await right.received(b"x" * 1000)


@every
async def test_receive_now_pushes_inside_the_call_where_that_is_possible(kind):
    async with sides(kind) as (left, right):
        assert not right.transport.receive_now()
        await left.send(b"now")
        await passes(10)
        room, right.buffer = right.buffer, right.buffer[:2]
        if right.transport.receive_now():
            assert b"no" == right.data
            assert right.transport.receive_now()
            assert b"now" == right.data
            right.on_push = right.transport.receive_now
            assert not right.transport.receive_now()
        else:
            assert "loop" in kind
            assert not right.data
        right.on_push = lambda: None
        read(right)
        await until(lambda: right.data == b"now")
        await passes()
        await left.send(b"what is left comes by itself")
        pushes = right.pushes
        assert right.transport.receive_now() == ("loop" not in kind)
        assert right.pushes == pushes + ("loop" not in kind)
        await until(lambda: right.data.endswith(b"itself"))
        right.buffer = room
        right.on_push = right.transport.receive_now
        await left.send(b"!" * 50_000)
        await until(lambda: right.data.endswith(b"!" * 50_000))


@on_loops(["transports loop-unix", "asyncio unix"])
async def test_what_a_socket_does_not_take_is_not_taken_at_the_next_try_either(kind):
    async with sides(kind) as (left, _):
        with pytest.raises(BlockingIOError):
            while True:
                left.transport.send([LARGE])
        for _ in range(3):
            refused(BlockingIOError, left.transport.send, [LARGE])
            await passes(10)


@every
async def test_closing_drops_what_the_peer_does_not_take_and_watches_no_longer(kind):
    async with sides(kind) as (left, right):
        sending = asyncio.ensure_future(left.send(LARGE * 10))
        await passes(50)
        sending.cancel()
        if kind.startswith("tls"):
            assert right.transport._incoming.pending <= 1 << 17, "what nobody reads stays below"
        sock = left.transport.socket
        descriptor = sock.fileno() if sock else -1
        await closed(left, right)
        assert not right.data
        assert sock is None or -1 == sock.fileno()
        if descriptor > 0 and "loop" not in kind:
            assert not asyncio.get_running_loop().remove_writer(descriptor)


@every
async def test_a_transport_that_is_closed_at_once_leaves_nothing_behind(kind):
    await closed(*map(Side, pair_of(kind)))


# TLS


@every_tls
async def test_a_connection_that_ends_without_goodbye_is_lost_after_all_that_arrived(kind):
    async with sides(kind) as (left, right):
        await left.send(b"all of it?")
        await left.act(left.transport._inner.shutdown)
        read(right)
        await right.end()
        assert b"all of it?" == right.data
        assert isinstance(right.told[0], ssl.SSLEOFError)
        assert is_reset(right.told[0])


@pytest.mark.parametrize("truncation_is_end", [False, True])
async def test_a_spoilt_record_is_a_lost_connection_after_what_came_before_it(truncation_is_end):
    async with sides("tls:memory") as (left, right):
        right.transport._truncation_is_end = truncation_is_end
        await left.send(b"good")
        left.transport._inner.send([b"\x17\x03\x03\x00\x20" + bytes(32)])
        right.on_push = right.transport.pause_reading
        read(right)
        await right.received(b"good")
        right.transport.eof_received()
        read(right)
        await right.end()
        assert isinstance(right.told[0], ssl.SSLError)
        assert not is_reset(right.told[0])
        assert not right.transport._inner._reading, "what comes after it stays below"
        await raised(OSError, right.send, b"anything")
        read(left)
        await left.end()
        assert "alert" in str(left.told[0]).lower(), "the peer is told why"


under_tls = on_loops([kind.replace("tls:", "", 1) for kind in KINDS if "tls:" in kind])


@under_tls
@pytest.mark.parametrize("peer", ["speaks no tls", "leaves", "has left"])
async def test_a_handshake_with_nobody_fails_and_nothing_is_received_during_one(kind, peer):
    near, far = pair_of(kind)
    client = Side(TLSTransport(near, certificates().client(), server_hostname="localhost"))
    server = Side(far)
    if peer == "has left":
        server.close()
        await passes()
    read(client)
    shaking = client.transport.shake_hands()
    assert not client.transport.receive_now()
    if peer == "speaks no tls":
        await server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    else:
        server.close()
    caught = await raised(OSError, shaking)
    assert is_reset(caught) == (peer != "speaks no tls")
    await passes()
    assert not client.told
    await closed(client, server)


async def test_a_handshake_fails_when_the_peer_takes_no_more_though_it_never_says_so():
    near, far = memory_transport_pair(Wire(capacity=10))
    client = Side(TLSTransport(near, certificates().client(), server_hostname="localhost"))
    shaking = client.transport.shake_hands()
    await passes()
    assert not shaking.done()
    far.incoming.abandon()
    await raised(BrokenPipeError, shaking)
    await closed(client)
    near, far = memory_transport_pair()
    client = Side(TLSTransport(near, certificates().client(), server_hostname="localhost"))
    shaking = client.transport.shake_hands()
    await closed(client)
    await raised(ConnectionAbortedError, shaking)


@pytest.mark.parametrize("early", [False, True])
async def test_data_in_one_piece_with_the_end_of_the_handshake_is_pushed_after_it(early):
    blocks = [False, *[True] * 10]  # the hello comes at once, all else together
    client, server = map(Side, tls_over(memory_transport_pair(Wire(blocks=blocks))))
    order = []
    server.on_push = lambda: order.append("data")
    hello = server.transport.shake_hands()
    hello.add_done_callback(lambda _: order.append("handshake"))
    if early:
        read(server)
    await client.transport.shake_hands()
    await client.send(b"at once")
    client.transport.shutdown()
    await hello
    if not early:
        read(server)
        assert not server.data
    await server.end()
    assert (b"at once", ["end"]) == (server.data, server.told)
    assert ["handshake", "data"] == order


@pytest.mark.parametrize("peer", ["reads", "leaves"])
async def test_nobody_waits_for_the_tickets_of_a_server(peer):
    # The first message of a server leaves at once, and the next one only after a while.
    near, far = memory_transport_pair(None, Wire(takes=[1 << 16, *[0] * 20]))
    client, server = map(Side, tls_over((near, far)))
    shaking = server.transport.shake_hands()
    await client.transport.shake_hands()
    await shaking
    read(server)
    if peer == "reads":
        read(client)
        await client.send(b"hello")
        await server.received(b"hello")
        await server.send(b"you")
        await client.received(b"you")
    else:
        await client.send(b"last words")
        client.transport.shutdown()
        client.transport.close()
        await server.received(b"last words")
        await raised(BrokenPipeError, server.send, b"too late")
        assert not far._writing


@every_tls
async def test_half_close_keeps_what_the_peer_goes_on_sending(kind):
    async with sides(kind, size=1000) as (left, right):
        sending = asyncio.ensure_future(right.send(LARGE))
        left.on_push = left.transport.pause_reading
        read(left)
        await until(lambda: left.data)
        await left.shutdown()
        left.on_push = lambda: None
        read(left, right)
        assert ["end"] == await right.end()
        await sending
        await left.received(LARGE)
        await right.shutdown()
        assert ["end"] == await left.end()


@every_tls
async def test_goodbyes_may_cross_and_take_nothing_with_them(kind):
    async with sides(kind) as both:
        for side in both:
            await side.send(b"just now")
            await side.shutdown()
        await passes(10)
        for side in both:
            read(side)
            assert ["end"] == await side.end()
            assert b"just now" == side.data


@every_tls
async def test_a_write_that_wants_to_read_waits_for_the_peer_and_loses_nothing(kind):
    async with sides(kind) as (left, right):
        write, wants = left.transport.tls.write, [ssl.SSLWantReadError()] * 3

        def write_reluctantly(data):
            if wants:
                raise wants.pop()
            return write(data)

        left.transport.tls.write = write_reluctantly
        read(right)
        sending = asyncio.ensure_future(left.send(b"hello"))
        news = 0
        while not sending.done():
            await right.send(b"news")
            news += 1
            await passes()
        await right.received(b"hello")
        assert not left.data, "it is not reading"
        read(left)
        await left.received(b"news" * news)
        wants += [ssl.SSLWantReadError()] * 1000
        sending = await begun(left.send(b"never"))
        right.close()
        assert is_reset(await raised(OSError, sending))


@pytest.mark.parametrize("says_goodbye", [False, True])
async def test_an_error_from_below_comes_after_what_is_decrypted_if_the_peer_has_not_said_goodbye(says_goodbye):
    async with sides("tls:memory") as (left, right):
        right.on_push = right.transport.pause_reading
        await left.send(b"news")
        if says_goodbye:
            await left.shutdown()
        await passes()
        reset = ConnectionResetError(errno.ECONNRESET, "gone")
        right.transport.connection_lost(reset)
        read(right)
        await right.received(b"news")
        assert not right.told
        read(right)
        assert not right.told
        await passes()
        assert ["end" if says_goodbye else reset] == right.told


# The loop's own transports


def not_shaken(sock):
    """Return a socket of Python's own TLS, which loops do not take."""
    return certificates().client().wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)


async def test_before_the_loop_has_made_its_transport_sending_has_to_wait():
    left, right = (Side(LoopTransport(sock)) for sock in tcp_sockets())
    for act in (left.transport.shutdown, lambda: left.transport.send([b"x"])):
        refused(BlockingIOError, act)
    read(right)
    await left.send(b"x")
    await right.received(b"x")
    left.transport.connection_lost(None)  # as the loop says when it is closed below, in good order
    for act in (left.transport.shutdown, lambda: left.transport.send([b"x"])):
        refused(ConnectionResetError, act)
    await closed(left, right)
    right.transport.get_buffer(1)
    right.transport.buffer_updated(1)  # as the Proactor loop may
    assert not right.data


@pytest.mark.asyncio_only
async def test_a_socket_that_the_loop_does_not_take_is_a_lost_connection():
    sock = not_shaken(socket.socket())
    side = Side(LoopTransport(sock), reads=True)
    assert [TypeError] == list(map(type, await side.end()))
    assert -1 == sock.fileno()
    await raised(TypeError, side.send, b"x", match="SSLSocket")
    side.close()


async def test_a_reset_is_told_and_raised_again():
    first, second = tcp_sockets()
    side = Side(LoopTransport(first), reads=True)
    await passes()
    second.send(b"x")
    await side.received(b"x")
    reset_on_close(second)
    second.close()
    refused(BlockingIOError, side.transport.send, [b"lost"])
    [lost] = await side.end()
    assert is_reset(lost)
    for act in (side.transport.shutdown, lambda: side.transport.send([b"x"])):
        refused(ConnectionResetError, act)
    side.close()


async def test_closed_before_the_loop_has_made_its_transport_or_failed_to_it_tells_nothing():
    for wrap in (lambda sock: sock, not_shaken):
        for later in (0, 1, 2):
            ours, theirs = socket.socketpair()
            with theirs:
                side = Side(LoopTransport(wrap(ours)), reads=True)
                await passes(later)
                await closed(side)


# Descriptors


async def test_a_regular_file_is_read_to_its_end_and_written(tmp_path):
    path = tmp_path / "file"
    writer = Side(PipeTransport(None, os.open(path, os.O_WRONLY | os.O_CREAT)))
    read(writer)  # there is nothing to read, and nobody to go away
    writer.transport.watch_writing(True)
    writer.transport.watch_writing(False)
    await writer.send(LARGE, b"end")
    writer.transport.shutdown()
    writer.transport.shutdown()
    writer.transport.close()
    reader = Side(PipeTransport(os.open(path, os.O_RDONLY)), reads=True)
    reader.transport.pause_reading()
    read(reader)
    await reader.end()
    assert (LARGE + b"end", ["end"]) == (reader.data, reader.told)
    refused(BrokenPipeError, reader.transport.send, [b"x"])
    reader.transport.close()


async def test_a_pipe_that_is_only_written_is_watched_no_longer_after_its_end():
    other_end, descriptor = os.pipe()
    side = Side(PipeTransport(None, descriptor), reads=True)
    side.transport.shutdown()
    assert not asyncio.get_running_loop().remove_reader(descriptor), "its number may be another's by now"
    read(side)
    side.close()
    os.close(other_end)


async def test_an_error_of_a_descriptor_is_a_lost_connection(tmp_path):
    # The first page of a process cannot be read (EIO), like a bad sector; only of a terminal is that the end.
    for path, error in ((tmp_path, errno.EISDIR), ("/proc/self/mem", errno.EIO)):
        side = Side(PipeTransport(os.open(path, os.O_RDONLY)), reads=True)
        await side.end()
        await passes()  # it is told once
        assert [error] == [getattr(told, "errno", told) for told in side.told]
        side.transport.close()
    terminal, other_side = pty.openpty()
    side = Side(PipeTransport(terminal), reads=True)
    os.close(other_side)
    assert ["end"] == await side.end()
    side.close()
    for fds in (1 << 20, None), (None, 1 << 20):
        refused(OSError, PipeTransport, *fds, match="Bad file descriptor")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
async def test_a_socket_that_keeps_the_borders_of_messages_is_refused_and_stays_open(kind):
    ours, theirs = socket.socketpair(type=kind)
    with ours, theirs:
        for taker in (SocketTransport, LoopTransport, transport_over, IOStream, PipeTransport):
            with pytest.raises(ValueError, match=f"{kind.name}, which keeps .* messages: .* pass each one"):
                taker(ours.fileno() if taker is PipeTransport else ours)
        url, why = f"fd:{ours.fileno()}", f"{kind.name}, which keeps the borders of messages"
        for reach in (connect(url), connect(f"{url},{theirs.fileno()}"), serve(print, url)):
            caught = await raised(AddressError, reach, match=why)
            assert caught.url.startswith(url)
        assert os.get_blocking(ours.fileno())
        theirs.send(b"still open")
        assert b"still open" == ours.recv(100)


async def test_what_is_no_plain_socket_is_refused_with_a_word_of_what_to_pass():
    with not_shaken(socket.socket()) as wrapped, open(os.devnull, "rb") as file:
        for source, hint in (
            (file, r"; pass PipeTransport\(file.fileno\(\)\) for one"),
            (wrapped, "; pass it before it is wrapped, and call start_tls"),
            ("tcp://", r"; connect\(url\) opens one"),
            (b"bytes", "bytes'$"),
        ):
            for taker in (transport_over, IOStream):
                refused(TypeError, taker, source, match=f"needs a connected socket or a Transport, not .*{hint}")


def fifo_without_a_reader():
    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(path := f"{folder}/fifo")
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY)
    os.close(reader)
    return [writer]


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize(("make", "changed"), [
    (os.pipe, []),
    (fifo_without_a_reader, [0]),
    (pty.openpty, [0]),
    (lambda: [end.detach() for end in socket.socketpair()], [0, 1]),
    (lambda: [os.open(__file__, os.O_RDONLY)], None),
], ids=["pipe", "half a pipe", "terminal", "socket", "file"])  # fmt: skip
async def test_who_shares_an_open_file_finds_it_as_it_was_afterwards_if_not_all_the_time(make, changed, blocking):
    descriptors = make()
    others = [os.dup(fd) for fd in descriptors]
    for i, (fd, shared) in enumerate(zip(descriptors, others, strict=True)):
        is_inherited = os.get_inheritable(fd)
        os.set_blocking(fd, blocking)
        transport = PipeTransport(fd)
        transport.attach(None, asyncio.get_running_loop())
        assert (blocking and changed is None, is_inherited) == (os.get_blocking(fd), os.get_inheritable(fd))
        assert (blocking and i not in (changed or ())) == os.get_blocking(shared)
        transport.close()
        assert blocking == os.get_blocking(shared)
    for fd in others:
        os.close(fd)


def test_a_loop_that_cannot_watch_descriptors_says_what_to_use_instead():
    ours, theirs = socket.socketpair()
    with theirs, closing(LoopWithoutPolling()) as loop:
        stream = IOStream(SocketTransport(ours), loop=loop)
        refused(NotImplementedError, stream.receiver.watch, match=r"LoopWithoutPolling cannot .*: use transport_over\(")
        ours.close()


@pytest.mark.parametrize(("error", "expected"), [
    (None, False),
    (ConnectionResetError(), True),
    (BrokenPipeError(), True),
    (OSError(errno.ETIMEDOUT, ""), True),
    (OSError(errno.ENOTCONN, ""), True),
    (OSError(errno.EIO, ""), False),
    (ssl.SSLEOFError(), True),
    (ssl.SSLError(), False),
    (ValueError(), False),
], ids=repr)  # fmt: skip
def test_a_reset_is_what_says_only_that_the_peer_is_gone(error, expected):
    assert expected == is_reset(error)


@pytest.mark.parametrize("kind", [SocketTransport, LoopTransport])
def test_a_peer_that_is_known_already_is_not_asked_for(kind):
    first, second = tcp_sockets()
    name = "{}:{}".format(*second.getsockname())
    with first, second:
        assert [name, "known"] == [kind(first).peer, kind(first, "known").peer]


@pytest.mark.parametrize(("address", "text"), [
    (("127.0.0.1", 80), "127.0.0.1:80"),
    (("::1", 80, 0, 0), "[::1]:80"),
    ((2, 1024), "2:1024"),  # of a virtual machine (AF_VSOCK)
    ("/run/x.sock", "/run/x.sock"),
    (b"\0abstract", "\0abstract"),
    ("", "unnamed"),
])  # fmt: skip
def test_addresses_read_as_people_write_them(address, text):
    assert text == format_address(address)


# What they are


@every
async def test_a_transport_tells_what_it_is_and_throws_away_what_a_socket_has_received(kind):
    async with sides(kind) as (left, right):
        names = kind.partition(":")[2] or kind
        has_socket = "tcp" in names or "unix" in names
        assert has_socket == isinstance(left.transport.socket, socket.socket)
        assert kind.startswith("tls") == left.transport.needs_close_notify
        assert kind.startswith("tls") == (left.transport.tls is not None)
        if "tcp" in names:
            assert left.transport.peer.startswith("127.0.0.1:")
        elif "unix" in names:
            assert "unnamed" == left.transport.peer
        right.transport.pause_reading()  # a handshake leaves the transport below pushing
        await left.send(b"thrown away")
        await passes(10)
        right.transport.discard()
        read(right)
        await left.shutdown()
        await right.end()
        assert has_socket != bool(right.data)


@pytest.mark.parametrize(("buffers", "size", "expected"), [
    ([b"abc"], 3, b"abc"),
    ([b"abc"], 2, b"ab"),
    ([b"a", b"bc"], 3, b"abc"),
    ([b"a", b"bc"], 2, b"a"),
    ([memoryview(b"abc"), b"d"], 9, b"abcd"),
])  # fmt: skip
def test_buffers_are_joined_up_to_a_size(buffers, size, expected):
    assert expected == joined(buffers, size)
