"""Channels other than sockets: pipes, files, terminals, memory."""

import asyncio
import os
import pty
import socket
import tty

import pytest
from stream_pairs import joined, passes, pipe_channels, tcp_sockets

from framestream import Exactly, IOStream, LengthPrefix, Line, StreamClosed
from framestream.testing import Wire, memory_stream_pair
from framestream.transport._channel import Channel, SocketChannel, format_address
from framestream.transport._pipe_channel import PipeChannel


async def test_a_regular_file_is_read_to_its_end(tmp_path):
    path = tmp_path / "lines"
    path.write_text("".join(f"{number}\n" for number in range(10_000)))
    async with IOStream(PipeChannel(os.open(path, os.O_RDONLY))) as stream:
        assert [str(number) for number in range(10_000)] == [line async for line in stream.frames(Line())]


async def test_a_regular_file_is_written(tmp_path):
    path = tmp_path / "out"
    async with IOStream(PipeChannel(None, os.open(path, os.O_WRONLY | os.O_CREAT))) as stream:
        assert b"" == await stream.read_until_close()
    async with IOStream(PipeChannel(None, os.open(path, os.O_WRONLY)), half_open=True) as stream:
        for number in range(100):
            await stream.send(str(number), Line())
        await stream.write_eof()
    assert [str(number) for number in range(100)] == path.read_text().splitlines()


async def test_a_file_waits_its_turn_like_a_pipe(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)

    class Slow(PipeChannel):
        turns = 0

        def receive(self, size):
            self.turns += 1
            if self.turns < 5:
                raise BlockingIOError
            return super().receive(size)

    channel = Slow(os.open(path, os.O_RDONLY))
    async with IOStream(channel) as stream:
        assert b"x" * 100 == await stream.read(Exactly(100))
        stream._core.inbound.unwatch()
        stream._core.inbound.watch()
    assert channel.turns >= 5


async def test_a_file_that_would_block_is_written_on_a_later_pass(tmp_path):
    class Slow(PipeChannel):
        turns = 0

        def send(self, buffers):
            self.turns += 1
            if self.turns < 5:
                raise BlockingIOError
            return super().send(buffers)

    path = tmp_path / "out"
    async with IOStream(Slow(None, os.open(path, os.O_WRONLY | os.O_CREAT))) as stream:
        await stream.write(b"all of it")
    assert b"all of it" == path.read_bytes()


async def test_the_other_side_of_a_terminal_that_is_gone_is_an_end():
    mother, child = pty.openpty()
    tty.setraw(child)
    stream = IOStream(PipeChannel(mother, mother), half_open=True)
    os.write(child, b"hello\n")
    assert "hello" == await stream.read(Line())
    await stream.write(b"typed\n")
    assert b"typed\n" == os.read(child, 100)
    os.close(child)
    assert [] == [line async for line in stream.frames(Line())]
    assert stream.error is None
    stream.close()


def test_a_terminal_that_is_gone_ends_a_large_frame_too():
    mother, child = pty.openpty()
    os.close(child)
    channel = PipeChannel(mother)
    assert 0 == channel.receive_into(memoryview(bytearray(10)))
    channel.close()


def test_a_pipe_that_only_writes_is_at_its_end():
    channel, other = pipe_channels()
    os.close(channel.read_fd)
    channel.read_fd = None
    assert b"" == channel.receive(10)
    assert 0 == channel.receive_into(memoryview(bytearray(10)))
    channel.shutdown()
    channel.shutdown()
    channel.close()
    other.close()


@pytest.mark.parametrize("method", ["receive", "receive_into"])
def test_other_errors_of_a_descriptor_are_raised(method, tmp_path):
    channel = PipeChannel(os.open(tmp_path, os.O_RDONLY))
    with pytest.raises(IsADirectoryError):
        getattr(channel, method)(memoryview(bytearray(10)) if method == "receive_into" else 10)
    channel.close()


async def test_watching_what_is_not_there_does_nothing():
    loop = asyncio.get_running_loop()
    channel = PipeChannel(None, None)
    channel.watch_read(loop, print)
    channel.watch_write(loop, print)
    channel.close()


async def test_a_large_frame_comes_through_a_pipe_into_its_place():
    async with joined("pipe") as (client, server):
        data = os.urandom(500_000)
        client.send(data, LengthPrefix(4))
        assert data == await server.read(LengthPrefix(4))


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


def test_a_channel_without_tls_says_so():
    left, right = socket.socketpair()
    with left, right:
        assert SocketChannel(left).tls is None


def test_the_peer_of_a_socket_that_is_gone_has_no_name():
    first, second = tcp_sockets()
    channel = SocketChannel(first)
    channel.close()
    assert "" == channel.peer
    second.close()


async def test_a_channel_of_ones_own_is_a_few_methods():
    class Loop(Channel):
        """What is sent comes back."""

        def __init__(self):
            self.data = b""
            self.readers = []

        def receive(self, size):
            if not self.data:
                raise BlockingIOError
            data, self.data = self.data[:size], self.data[size:]
            return data

        def receive_into(self, buffer):
            data = self.receive(len(buffer))
            buffer[: len(data)] = data
            return len(data)

        def send(self, buffers):
            self.data += b"".join(buffers)
            return sum(map(len, buffers))

        def watch_read(self, loop, callback):
            pass

        def watch_write(self, loop, callback):
            pass

        def shutdown(self):
            pass

        def close(self):
            pass

    stream = IOStream(Loop())
    await stream.send("there and back", Line())
    assert "there and back" == await stream.read(Line())
    assert (None, "Loop", False) == (stream.channel.socket, stream.peer, stream.channel.has_farewell)
    with pytest.raises(NotImplementedError):
        stream.channel.send_file(None, 0, 1)


async def test_memory_that_ends_early_looks_like_a_peer_cut_off():
    client, server = memory_stream_pair(Wire(end=3))
    client.write(b"a\nbcd")
    assert ["a", "b"] == [line async for line in server.frames(Line())]
    assert server.closed()
    client.close()


async def test_memory_whose_reader_is_gone_refuses_bytes():
    client, server = memory_stream_pair(Wire(capacity=10))
    writing = asyncio.ensure_future(client.write(b"x" * 100))
    await passes()
    server.close()
    with pytest.raises(StreamClosed) as caught:
        await writing
    assert isinstance(caught.value.real_error, BrokenPipeError)


async def test_the_end_of_a_pipe_is_sent_behind_more_than_it_holds_and_leaves_no_watch_behind():
    there, back = os.pipe(), os.pipe()
    stream, peer = IOStream(PipeChannel(back[0], there[1])), IOStream(PipeChannel(there[0], back[1]))
    stream.write(b"x" * 300_000)
    stream.write_eof()
    assert 300_000 == len(await peer.read_until_close())
    stream.close()
    # The number of the descriptor is given out again: nothing may remain of who had it.
    again = os.pipe()
    reader, writer = IOStream(PipeChannel(again[0])), IOStream(PipeChannel(None, again[1]), half_open=True)
    writer.write(b"y" * 300_000)
    assert b"y" * 300_000 == await reader.read(Exactly(300_000))
    reader.close()
    writer.close()


class Broken(Channel):
    """A channel of an author who made a mistake."""

    def __init__(self, fd):
        self.fd = fd

    def receive(self, size):
        raise ZeroDivisionError("mine")

    receive_into = send = receive

    def watch_read(self, loop, callback):
        loop.remove_reader(self.fd) if callback is None else loop.add_reader(self.fd, callback)

    def watch_write(self, loop, callback):
        pass

    def shutdown(self):
        pass

    def close(self):
        os.close(self.fd)


async def test_what_is_no_channel_is_refused():
    for wrong in (None, 5, "tcp://localhost:1"):
        with pytest.raises(TypeError, match="a socket or a Channel"):
            IOStream(wrong)


async def test_a_channel_that_raises_when_it_is_woken_closes_its_stream_once(caplog):
    reading, writing = os.pipe()
    stream = IOStream(Broken(reading))
    closed = asyncio.Event()
    stream.set_close_callback(closed.set)
    os.write(writing, b"x")
    await closed.wait()
    os.close(writing)
    assert isinstance(stream.error, ZeroDivisionError)
    assert 1 == sum(record.name == "framestream" for record in caplog.records)
