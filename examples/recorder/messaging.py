"""Mosquitto, rsyslog, Erlang."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from recorder import cutters
from recorder.programs import PATIENCE, Wire, connect, free_port, running
from recorder.recipe import capture

PACKETS = cutters.varint_prefixed(offset=1)
COUNTED = cutters.decimal_prefixed(b" ")


def _mqtt(kind: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([kind]) + length + bytes([size]) + body


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


@capture(
    "mosquitto-mqtt",
    program="mosquitto",
    package="mosquitto",
    cuts={"length-prefix:format=varint,offset=1": PACKETS},
)
def mosquitto_mqtt(folder: Path) -> bytes:
    """MQTT 3.1.1 packets to a subscriber: acknowledgements, pings, 30 messages of 0 to 20,000 bytes."""
    port = free_port()
    configuration = folder / "mosquitto.conf"
    keep_root = "user root" if os.geteuid() == 0 else ""
    settings = [f"listener {port} 127.0.0.1", "allow_anonymous true", "log_dest none", keep_root]
    configuration.write_text("\n".join(settings))
    sizes = [0, 1, 125, 126, 127, 128, 1000, 16382, 20000, *range(7, 28)]
    with running("mosquitto", "-c", configuration) as process, connect(port, process) as wire:
        wire.send(_mqtt(0x10, _text(b"MQTT") + b"\4\2\0\x3c" + _text(b"framestream")))
        wire.send(_mqtt(0x82, b"\0\1" + _text(b"weather/#") + b"\1"))
        for number, size in enumerate(sizes):
            # QoS 1: each message comes back to us and is acknowledged to us.
            body = _text(b"weather/%d" % (number % 3)) + (number + 1).to_bytes(2, "big") + b"r" * size
            wire.send(_mqtt(0x32, body) + _mqtt(0xC0, b""))
            expected = 2 + 3 * (number + 1)  # CONNACK, SUBACK; then PUBLISH, PUBACK and PINGRESP each time
            wire.until(lambda seen, expected=expected: cutters.count(PACKETS, seen) == expected)
            delivered = _last_message_number(wire.received)
            wire.send(_mqtt(0x40, delivered))
        return wire.received


def _last_message_number(seen: bytes) -> bytes:
    """Return the packet identifier of the last PUBLISH: after its header and its topic of 9 letters."""
    ends = [0, *PACKETS(seen)]
    start = max(at for at in ends[:-1] if seen[at] & 0xF0 == 0x30)
    topic = seen.index(b"\0\x09weather/", start)
    return seen[topic + 11 : topic + 13]


@capture(
    "rsyslog-octet-counted",
    program="rsyslogd",
    package="rsyslog",
    cuts={'length-prefix:format=decimal,terminator=" "': COUNTED},
)
def rsyslog_octet_counted(folder: Path) -> bytes:
    """Syslog messages that rsyslogd forwards over TCP with octet counting (RFC 6587, section 3.4.1)."""
    count, port = 24, free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        configuration = folder / "rsyslog.conf"
        configuration.write_text(f"""
            global(workDirectory="{folder}" parser.permitSlashInProgramname="on")
            module(load="imtcp")
            input(type="imtcp" address="127.0.0.1" port="{port}")
            action(type="omfwd" target="127.0.0.1" port="{server.getsockname()[1]}" protocol="tcp"
                   TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format")
        """)
        command = ("rsyslogd", "-n", "-C", "-f", configuration, "-i", folder / "pid")
        with running(*command) as process, connect(port, process) as talker:
            for number in range(count):
                head = f"<{8 * (number % 4) + 6}>1 2026-01-02T03:04:{number:02}Z web1.example shop 42"
                talker.send(f"{head} ID{number} - order {number} shipped, weight {'=' * (number * 5)}\n".encode())
            with Wire(server.accept()[0]) as wire:
                return wire.until(lambda seen: cutters.count(COUNTED, seen) == count)


ERLANG = """
{ok, Server} = gen_tcp:listen(0, [binary, {packet, %d}, {ip, {127,0,0,1}}, {active, false}]),
{ok, Port} = inet:port(Server),
io:format("~b~n", [Port]),
{ok, Socket} = gen_tcp:accept(Server),
[ok = gen_tcp:send(Socket, Frame) || Frame <- %s],
ok = gen_tcp:close(Socket),
halt().
"""


def _erlang(packet: int, frames: str) -> bytes:
    """Let Erlang's own `{packet, N}` write the frames, and return what arrives."""
    command = ("erl", "-noshell", "-eval", ERLANG % (packet, frames))
    with running(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with connect(int(process.stdout.readline()), process) as wire:
            return wire.rest()


@capture(
    "erlang-packet-4",
    program="erl",
    package="erlang-base",
    cuts={"length-prefix": cutters.prefixed(4)},
)
def erlang_packet_4(_folder: Path) -> bytes:
    """Terms in the external format after 4-byte lengths, written by Erlang's {packet, 4}."""
    return _erlang(4, "[term_to_binary({point, N, [{x, N * 1.5}, {y, -N}]}) || N <- lists:seq(1, 50)]")


@capture(
    "erlang-packet-1",
    program="erl",
    package="erlang-base",
    cuts={"length-prefix:size=1": cutters.prefixed(1)},
)
def erlang_packet_1(_folder: Path) -> bytes:
    """Every size that one byte can say, 0 to 255, written by Erlang's {packet, 1}."""
    return _erlang(1, "[binary:copy(<<N>>, N) || N <- lists:seq(0, 255)]")
