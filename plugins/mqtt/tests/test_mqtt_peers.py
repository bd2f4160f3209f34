"""MQTT spoken with Mosquitto: as a client of its broker, and as a broker of its clients."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from framestream import END, NEED_DATA, FrameDecoder, FramingError, blocking, connect, iter_frames
from framestream_mqtt import Mqtt, Packet, PacketType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT = 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin"
MISSING = [
    program for program in ("mosquitto", "mosquitto_pub", "mosquitto_sub") if not shutil.which(program, path=PATH)
]

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}, see plugins/install_peers.sh"),
]


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def number(value: int) -> bytes:
    return value.to_bytes(2, "big")


class Connection:
    """One end of a connection, read in pieces of `chunk` bytes at most."""

    def __init__(self, peer: socket.socket, version: int, chunk: int = 65536) -> None:
        self.version = version
        self.framer = Mqtt(version)
        self.decoder = FrameDecoder(max_frame_size=16 << 20)
        self.chunk = chunk
        self.socket = peer
        self.socket.settimeout(TIMEOUT)
        self.properties = b"\x00" if version == 5 else b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(b"".join(self.framer.encode(packet)) for packet in packets))

    def read(self) -> Packet | None:
        """Return the next packet, or None at the end."""
        while (packet := self.decoder.next_frame(self.framer)) is NEED_DATA:
            if chunk := self.socket.recv(self.chunk):
                self.decoder.receive_data(chunk)
            else:
                self.decoder.receive_eof()
        return None if packet is END else packet

    def connect(self, name: bytes) -> None:
        hello = text(b"MQTT") + bytes((self.version, 2)) + number(60) + self.properties + text(name)
        self.send(Packet(PacketType.CONNECT, 0, hello))
        answer = self.read()
        assert answer is not None
        assert (answer.type, answer.body[1]) == (PacketType.CONNACK, 0)

    def subscribe(self, topic: bytes, qos: int) -> None:
        body = number(1) + self.properties + text(topic) + bytes((qos,))
        self.send(Packet(PacketType.SUBSCRIBE, 2, body))
        answer = self.read()
        assert answer == Packet(PacketType.SUBACK, 0, number(1) + self.properties + bytes((qos,)))

    def publish(self, topic: bytes, message: bytes, qos: int = 0, identifier: int = 0) -> Packet:
        mark = number(identifier) if qos else b""
        return Packet(PacketType.PUBLISH, qos << 1, text(topic) + mark + self.properties + message)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a mosquitto broker; yield its port."""
    home = tmp_path_factory.mktemp("mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    config = home / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with (home / "log").open("wb") as log:
        command = [str(shutil.which("mosquitto", path=PATH)), "-c", str(config)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait(TIMEOUT)


def client(port: int, version: int, chunk: int = 65536) -> Connection:
    return Connection(socket.create_connection(("127.0.0.1", port), TIMEOUT), version, chunk)


@pytest.mark.parametrize("chunk", [1, 7, 65536])
@pytest.mark.parametrize("version", [4, 5])
def test_every_quality_of_service(broker: int, version: int, chunk: int) -> None:
    with client(broker, version, chunk) as one:
        one.connect(b"one")
        one.subscribe(b"t", 2)
        one.send(one.publish(b"t", b"zero"))
        assert one.read() == one.publish(b"t", b"zero")

        one.send(one.publish(b"t", b"once", 1, 5))
        assert {one.read(), one.read()} == {Packet(PacketType.PUBACK, 0, number(5)), one.publish(b"t", b"once", 1, 1)}
        one.send(Packet(PacketType.PUBACK, 0, number(1)))

        one.send(one.publish(b"t", b"exactly", 2, 6))
        assert one.read() == Packet(PacketType.PUBREC, 0, number(6))
        one.send(Packet(PacketType.PUBREL, 2, number(6)))
        assert {one.read(), one.read()} == {
            Packet(PacketType.PUBCOMP, 0, number(6)),
            one.publish(b"t", b"exactly", 2, 2),
        }
        one.send(Packet(PacketType.PUBREC, 0, number(2)))
        assert one.read() == Packet(PacketType.PUBREL, 2, number(2))
        one.send(Packet(PacketType.PUBCOMP, 0, number(2)), Packet(PacketType.PINGREQ))
        assert one.read() == Packet(PacketType.PINGRESP)
        one.send(Packet(PacketType.DISCONNECT))
        assert one.read() is None


@pytest.mark.parametrize("version", [4, 5])
def test_a_thousand_pipelined_messages_and_one_of_four_mebibytes(broker: int, version: int) -> None:
    with client(broker, version) as one:
        one.connect(b"many")
        one.subscribe(b"many/#", 0)
        messages = [one.publish(b"many/%d" % index, b"x" * index) for index in range(1000)]
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(one.send, *messages)
            assert [one.read() for _ in messages] == messages
            sent.result(TIMEOUT)
        big = one.publish(b"many/big", bytes(range(256)) * (4 << 12))
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(one.send, big)
            assert one.read() == big
            sent.result(TIMEOUT)


def test_a_stream_speaks_it_by_name(broker: int) -> None:
    hello = text(b"MQTT") + bytes((5, 2)) + number(60) + b"\0" + text(b"stream")
    big = Packet(PacketType.PUBLISH, 0, text(b"t") + b"\0" + b"x" * 5_000_000)

    async def talk() -> list[object]:
        url = f"tcp://127.0.0.1:{broker}"
        async with await connect(url, framer="mqtt:version=5", max_frame_size=1 << 23) as stream:
            await stream.send(Packet(PacketType.CONNECT, 0, hello))
            await stream.send(Packet(PacketType.SUBSCRIBE, 2, number(1) + b"\0" + text(b"t") + b"\0"))
            said: list[object] = [(await stream.read()).type, (await stream.read()).type]
            await stream.send(big)
            async with stream.open_frame() as body:
                said.append(sum([len(part) async for part in body]))
            await stream.send(Packet(PacketType.PINGREQ))
            said.append((await stream.read()).type)
            await stream.send(Packet(PacketType.DISCONNECT))
            return [*said, *[packet async for packet in stream.frames(Mqtt(5))]]

    kinds = [PacketType.CONNACK, PacketType.SUBACK, len(big.body), PacketType.PINGRESP]
    assert asyncio.run(talk()) == kinds


def test_a_blocking_stream_sends_from_one_thread_and_receives_in_another(broker: int) -> None:
    hello = text(b"MQTT") + bytes((5, 2)) + number(60) + b"\0" + text(b"blocking")
    messages = [Packet(PacketType.PUBLISH, 0, text(b"b") + b"\0%d" % count) for count in range(1000)]
    with blocking.connect(f"tcp://127.0.0.1:{broker}", framer=Mqtt(5)) as stream:
        stream.send(Packet(PacketType.CONNECT, 0, hello))
        assert stream.receive(timeout=TIMEOUT).type is PacketType.CONNACK
        stream.send(Packet(PacketType.SUBSCRIBE, 2, number(1) + b"\0" + text(b"b") + b"\0"))
        assert stream.receive(timeout=TIMEOUT).type is PacketType.SUBACK
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(lambda: [stream.send(message) for message in messages])
            assert [next(stream.frames()) for _ in messages] == messages
            sending.result(TIMEOUT)
        stream.send(Packet(PacketType.DISCONNECT))
        assert list(stream) == []


# Mosquitto overlooks DUP with quality of service 0 in 3.1.1.
@pytest.mark.parametrize(("version", "malformed"), [
    *((version, b"\x00\x00") for version in (4, 5)),
    *((version, b"\x80\x06\x00\x01\x00\x01a\x00") for version in (4, 5)),
    *((version, b"6\x05\x00\x01a\x00\x01") for version in (4, 5)),
    *((version, b"0\xff\xff\xff\xff\x01") for version in (4, 5)),
    (5, b"8\x03\x00\x01a"),
])  # fmt: skip
def test_the_broker_too_closes_on_what_is_malformed(broker: int, version: int, malformed: bytes) -> None:
    with client(broker, version) as bad:
        bad.connect(b"bad")
        with pytest.raises(FramingError):
            list(iter_frames(malformed, bad.framer))
        bad.socket.sendall(malformed)
        answer = bad.read()
        assert answer is None or answer.type is PacketType.DISCONNECT


def serve(server: socket.socket, version: int, messages: list[bytes]) -> list[Packet]:
    """Be a broker for one client: take what it publishes, send it `messages`; return all packets."""
    peer, _ = server.accept()
    seen: list[Packet] = []
    with Connection(peer, version, 7) as one:
        while (packet := one.read()) is not None:
            seen.append(packet)
            identifier = packet.body[:2]
            if packet.type is PacketType.CONNECT:
                one.send(Packet(PacketType.CONNACK, 0, b"\x00\x00" + one.properties))
            elif packet.type is PacketType.SUBSCRIBE:
                one.send(Packet(PacketType.SUBACK, 0, identifier + one.properties + b"\x00"))
                one.send(*(one.publish(b"news", message) for message in messages))
            elif packet.type is PacketType.PUBLISH and packet.qos == 2:
                size = int.from_bytes(packet.body[:2], "big")
                one.send(Packet(PacketType.PUBREC, 0, packet.body[2 + size : 4 + size]))
            elif packet.type is PacketType.PUBREL:
                one.send(Packet(PacketType.PUBCOMP, 0, identifier))
    return seen


@pytest.mark.parametrize(("version", "option"), [(4, "311"), (5, "5")])
def test_mosquitto_pub_publishes_to_us(tmp_path: Path, version: int, option: str) -> None:
    message = bytes(range(256)) * 400
    (tmp_path / "message").write_bytes(message)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(TIMEOUT)
        seen = pool.submit(serve, server, version, [])
        port = str(server.getsockname()[1])
        command = ["mosquitto_pub", "-V", option, "-h", "127.0.0.1", "-p", port, "-q", "2", "-t", "news"]
        subprocess.run([*command, "-f", str(tmp_path / "message")], check=True, timeout=TIMEOUT)
        packets = seen.result(TIMEOUT)
    kinds = [PacketType.CONNECT, PacketType.PUBLISH, PacketType.PUBREL, PacketType.DISCONNECT]
    assert [packet.type for packet in packets] == kinds
    assert packets[1].body.endswith(message)


@pytest.mark.parametrize(("version", "option"), [(4, "311"), (5, "5")])
def test_mosquitto_sub_reads_what_we_write(version: int, option: str) -> None:
    messages = [b"message %d" % index for index in range(100)] + [b"x" * 100_000]
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(TIMEOUT)
        seen = pool.submit(serve, server, version, messages)
        port = str(server.getsockname()[1])
        command = ["mosquitto_sub", "-V", option, "-h", "127.0.0.1", "-p", port, "-t", "news"]
        done = subprocess.run([*command, "-C", "101"], capture_output=True, check=True, timeout=TIMEOUT)
        packets = seen.result(TIMEOUT)
    assert done.stdout.splitlines() == messages
    assert packets[-1].type is PacketType.DISCONNECT
