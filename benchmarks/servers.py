"""The servers that `compare` loads, each written as its library's users would for speed.

``python benchmarks/servers.py KIND CONTENDER LOOP [CERTIFICATE]`` serves on a free port, prints the port, and
then, for each connection that ends, how many frames it brought. KIND is a key of `SERVERS`, LOOP ``asyncio``
or ``uvloop``.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack

from framestream import (
    END,
    NEED_DATA,
    Exactly,
    FrameDecoder,
    LengthPrefix,
    Line,
    Msgpack,
    StreamClosed,
    serve,
)

BACKLOG = 4096
LARGEST = 4 << 20

# Starts to serve, with TLS if there is a context, and returns the port and what has to be kept alive.
Start = Callable[[ssl.SSLContext | None], Awaitable[tuple[int, object]]]

SERVERS: dict[str, dict[str, Start]] = {"echo": {}, "lines": {}, "prefix": {}, "msgpack": {}}


def report(frames: int) -> None:
    print(frames, flush=True)


def main() -> None:
    kind, contender, loop, *certificate = sys.argv[1:]
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate[0])

    async def run() -> None:
        port, _kept = await SERVERS[kind][contender](tls)
        print(port, flush=True)
        await asyncio.Event().wait()

    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


# framestream

LINE = Line(None)
KEPT = Line(None, keep=True)
PREFIX = LengthPrefix(4)
MSGPACK = Msgpack()


def framestream(kind: str, name: str) -> Callable[[Callable[[Any], Any]], object]:
    def note(handler: Callable[[Any], Any]) -> None:
        async def start(tls: ssl.SSLContext | None) -> tuple[int, object]:
            url = "tls://127.0.0.1:0" if tls else "tcp://127.0.0.1:0"
            server = await serve(handler, url, tls=tls, backlog=BACKLOG, max_frame_size=LARGEST)
            return int(server.url.rpartition(":")[2]), server

        SERVERS[kind][f"framestream {name}"] = start

    return note


@framestream("echo", "frames")
async def echo_frames(stream):
    count = 0
    async for line in stream.frames(KEPT):
        await stream.write(line)
        count += 1
    report(count)


@framestream("echo", "read")
async def echo_read(stream):
    count = 0
    try:
        while True:
            await stream.write(await stream.read(KEPT))
            count += 1
    except StreamClosed:
        report(count)


@framestream("echo", "read, made in the call")
async def echo_read_made(stream):
    count = 0
    try:
        while True:
            await stream.write(await stream.read(Line(None, keep=True)))
            count += 1
    except StreamClosed:
        report(count)


@framestream("echo", "on_frame")
def echo_by_callback(stream):
    count = 0

    def on_line(line):
        nonlocal count
        count += 1
        stream.write(line)

    stream.set_close_callback(lambda: report(count))
    stream.on_frame(KEPT, on_line)


def by_frames(condition):
    async def handle(stream):
        count = 0
        async for _frame in stream.frames(condition):
            count += 1
        report(count)

    return handle


def by_batches(condition):
    async def handle(stream):
        count = 0
        async for batch in stream.batches(condition):
            for _frame in batch:
                count += 1
        report(count)

    return handle


def by_read(condition):
    async def handle(stream):
        count = 0
        try:
            while True:
                await stream.read(condition)
                count += 1
        except StreamClosed:
            report(count)

    return handle


def by_callback(condition):
    def handle(stream):
        count = 0

        def on_frame(_frame):
            nonlocal count
            count += 1

        stream.set_close_callback(lambda: report(count))
        stream.on_frame(condition, on_frame)

    return handle


for kind, condition in (("lines", LINE), ("prefix", PREFIX), ("msgpack", MSGPACK)):
    framestream(kind, "batches")(by_batches(condition))
    framestream(kind, "frames")(by_frames(condition))
    framestream(kind, "read")(by_read(condition))
    framestream(kind, "on_frame")(by_callback(condition))


@framestream("lines", "read, made in the call")
async def read_made(stream):
    count = 0
    try:
        while True:
            await stream.read(Line(None))
            count += 1
    except StreamClosed:
        report(count)


@framestream("prefix", "read_into")
async def prefix_read_into(stream):
    count, header, place = 0, Exactly(4), bytearray()
    try:
        while True:
            size = int.from_bytes(await stream.read(header), "big")
            if len(place) != size:
                place = bytearray(size)
            await stream.read_into(place)
            count += 1
    except StreamClosed:
        report(count)


# Tornado


def tornado(kind: str) -> Callable[[Callable[[Any], Any]], object]:
    def note(handler: Callable[[Any], Any]) -> None:
        async def start(tls: ssl.SSLContext | None) -> tuple[int, object]:
            from tornado.iostream import StreamClosedError
            from tornado.netutil import bind_sockets
            from tornado.tcpserver import TCPServer

            class Server(TCPServer):
                async def handle_stream(self, stream, address):
                    count = 0
                    try:
                        while True:
                            await handler(stream)
                            count += 1
                    except StreamClosedError:
                        report(count)

            server = Server(ssl_options=tls)
            sockets = bind_sockets(0, "127.0.0.1", backlog=BACKLOG)
            server.add_sockets(sockets)
            return sockets[0].getsockname()[1], server

        SERVERS[kind]["Tornado"] = start

    return note


@tornado("echo")
async def tornado_echo(stream):
    await stream.write(await stream.read_until(b"\n"))


@tornado("lines")
async def tornado_line(stream):
    await stream.read_until(b"\n")


@tornado("prefix")
async def tornado_prefix(stream):
    await stream.read_bytes(int.from_bytes(await stream.read_bytes(4), "big"))


# asyncio's streams, or uvloop's


def streams(kind: str) -> Callable[[Callable[[Any, Any], Any]], object]:
    def note(handler: Callable[[Any, Any], Any]) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            count = 0
            try:
                while await handler(reader, writer):
                    count += 1
            except asyncio.IncompleteReadError:
                pass
            writer.close()
            report(count)

        async def start(tls: ssl.SSLContext | None) -> tuple[int, object]:
            server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls, backlog=BACKLOG)
            return server.sockets[0].getsockname()[1], server

        SERVERS[kind]["streams"] = start

    return note


@streams("echo")
async def streams_echo(reader, writer):
    line = await reader.readline()
    writer.write(line)
    await writer.drain()
    return line


@streams("lines")
async def streams_line(reader, writer):
    return await reader.readline()


@streams("prefix")
async def streams_prefix(reader, writer):
    await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
    return True


# Protocols written by hand


def protocol(kind: str, name: str) -> Callable[[type[asyncio.BaseProtocol]], type[asyncio.BaseProtocol]]:
    def note(factory: type[asyncio.BaseProtocol]) -> type[asyncio.BaseProtocol]:
        async def start(tls: ssl.SSLContext | None) -> tuple[int, object]:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=tls, backlog=BACKLOG)
            return server.sockets[0].getsockname()[1], server

        SERVERS[kind][name] = start
        return factory

    return note


class Counting(asyncio.BaseProtocol):
    """Counts frames, and reports the count when the connection ends."""

    def __init__(self) -> None:
        self.count = 0
        self.rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        report(self.count)


@protocol("lines", "Protocol")
class LinesProtocol(Counting, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for _line in lines:
            self.count += 1


@protocol("echo", "Protocol")
class EchoProtocol(Counting, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.transport.write(line + b"\n")
            self.count += 1


BUFFER = memoryview(bytearray(1 << 18))  # one is enough for all: nothing stays in it from call to call


class Buffered(Counting, asyncio.BufferedProtocol):
    """Receives into one buffer of 256 KiB that is kept."""

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER


@protocol("lines", "BufferedProtocol")
class LinesBuffered(Buffered):
    def buffer_updated(self, size: int) -> None:
        *lines, self.rest = (self.rest + bytes(BUFFER[:size])).split(b"\n")
        for _line in lines:
            self.count += 1


@protocol("echo", "BufferedProtocol")
class EchoBuffered(Buffered):
    def buffer_updated(self, size: int) -> None:
        *lines, self.rest = (self.rest + bytes(BUFFER[:size])).split(b"\n")
        for line in lines:
            self.transport.write(line + b"\n")
            self.count += 1


@protocol("prefix", "BufferedProtocol")
class PrefixBuffered(Counting, asyncio.BufferedProtocol):
    """Receives into one buffer of 256 KiB, larger only if a frame is, and copies each frame out of it."""

    unpack_from = struct.Struct(">I").unpack_from

    def __init__(self) -> None:
        super().__init__()
        self.buffer = memoryview(bytearray(1 << 18))
        self.filled = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer[self.filled :]

    def buffer_updated(self, size: int) -> None:
        buffer = self.buffer
        self.filled = filled = self.filled + size
        at, end = 0, 4
        while end <= filled:
            start = at + 4
            end = start + self.unpack_from(buffer, at)[0]
            if end > filled:
                break
            self.deliver(bytes(buffer[start:end]))
            at, end = end, end + 4
        if not at and end <= len(buffer):
            return  # all of it is one frame that has room
        rest = bytes(buffer[at:filled])
        if end - at > len(buffer):
            self.buffer = buffer = memoryview(bytearray(end - at))
        buffer[: len(rest)] = rest
        self.filled = len(rest)

    def deliver(self, frame: bytes) -> None:
        self.count += 1


@protocol("msgpack", "bare Unpacker")
class Unpacking(Buffered):
    def __init__(self) -> None:
        super().__init__()
        self.unpacker = msgpack.Unpacker()

    def buffer_updated(self, size: int) -> None:
        self.unpacker.feed(BUFFER[:size])
        for _frame in self.unpacker:
            self.count += 1


@protocol("msgpack", "bare Unpacker, a list")
class UnpackingLists(Unpacking):
    """Keeps the objects of a batch alive, as a batch does; the bare loop drops each at once."""

    def buffer_updated(self, size: int) -> None:
        self.unpacker.feed(BUFFER[:size])
        for _frame in list(self.unpacker):
            self.count += 1


# The least that awaits: a decoder fed by a protocol that wakes its task directly, without limits of time,
# flow control or errors. What streams cost beyond this is the price of what they promise.


class Reading:
    """What the task awaits, in the words of a future."""

    __slots__ = ("_asyncio_future_blocking", "answer", "callback", "condition", "context", "protocol")

    def __init__(self, protocol: Prototype, condition: Any) -> None:
        self.protocol = protocol
        self.condition = condition

    def __await__(self):
        self._asyncio_future_blocking = True
        self.protocol.reading = self
        yield self
        return self.answer

    def get_loop(self):
        return self.protocol.loop

    def add_done_callback(self, callback, *, context=None):
        self.callback = callback
        self.context = context

    def result(self):
        return None

    def cancel(self, msg=None):
        return False


class Prototype(asyncio.BufferedProtocol):
    reading: Reading | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.decoder = FrameDecoder(max_frame_size=LARGEST)
        self.loop = asyncio.get_running_loop()
        self.task = self.loop.create_task(self.handle())

    async def handle(self) -> None:
        raise NotImplementedError

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER

    def buffer_updated(self, size: int) -> None:
        self.decoder.receive_data(bytes(BUFFER[:size]))
        if self.reading is not None:
            self.go_on(self.reading)

    def eof_received(self) -> None:
        self.decoder.receive_eof()
        if self.reading is not None:
            self.go_on(self.reading)

    def go_on(self, reading: Reading) -> None:
        reading.answer = self.decoder.next_frame(reading.condition)
        if reading.answer is not NEED_DATA:
            self.reading = None
            reading.context.run(reading.callback, reading)

    async def read(self, condition: Any) -> Any:
        frame = self.decoder.next_frame(condition)
        return frame if frame is not NEED_DATA else await Reading(self, condition)


@protocol("echo", "prototype")
class EchoPrototype(Prototype):
    async def handle(self) -> None:
        count = 0
        while (line := await self.read(KEPT)) is not END:
            self.transport.write(line)
            count += 1
        report(count)


class CountingPrototype(Prototype):
    condition: Any

    async def handle(self) -> None:
        count = 0
        while await self.read(self.condition) is not END:
            count += 1
        report(count)


@protocol("lines", "prototype")
class LinesPrototype(CountingPrototype):
    condition = LINE


@protocol("prefix", "prototype")
class PrefixPrototype(CountingPrototype):
    condition = PREFIX


@protocol("msgpack", "prototype")
class MsgpackPrototype(CountingPrototype):
    condition = MSGPACK


if __name__ == "__main__":
    main()
