"""Name servers: DNS over TCP from BIND, dnstap from unbound."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from recorder import cutters
from recorder.programs import PATIENCE, Wire, connect, free_port, running
from recorder.recipe import capture

A, SOA, TXT, AXFR = 1, 6, 16, 252
ANSWERS = cutters.prefixed(2)
FRAMES = cutters.prefixed(4)


def query(number: int, name: str, kind: int) -> bytes:
    """Return a DNS query after its 2-byte length (RFC 1035, sections 4.1 and 4.2.2)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    head = number.to_bytes(2, "big") + b"\0\0\0\1" + bytes(6)
    message = head + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"
    return len(message).to_bytes(2, "big") + message


@capture("bind9-dns", program="named", package="bind9", cuts={"length-prefix:size=2": ANSWERS})
def bind9_dns(folder: Path) -> bytes:
    """Answers over TCP: an address, a start of authority, 5 KB of text, no such name, a transfer."""
    port = free_port()
    hosts = [f"host{number} A 192.0.2.{number}" for number in range(1, 41)]
    texts = [f'big TXT "{number:04}{"t" * 240}"' for number in range(20)]
    zone = ["$TTL 300", "@ SOA ns hostmaster 1 3600 600 86400 300", "@ NS ns", "ns A 192.0.2.53"]
    (folder / "zone").write_text("\n".join([*zone, *hosts, *texts, ""]))
    (folder / "named.conf").write_text(f"""
        options {{
            directory "{folder}"; pid-file none; session-keyfile none; managed-keys-directory "{folder}";
            listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
            recursion no; minimal-responses yes; transfer-format one-answer; server-id none;
            rrset-order {{ order none; }};
        }};
        controls {{ }};
        zone "example" {{ type primary; file "zone"; notify no; }};
    """)
    questions = [("host7.example", A), ("example", SOA), ("big.example", TXT), ("nobody.example", A)]
    command = ("named", "-f", "-n", "1", "-c", folder / "named.conf")
    with running(*command) as process, connect(port, process) as wire:
        for number, (name, kind) in enumerate(questions, 1):
            wire.send(query(number, name, kind))
            wire.until(lambda seen, number=number: cutters.count(ANSWERS, seen) == number)
        wire.send(query(9, "example", AXFR))
        # One record to a message; the start of authority opens and closes the transfer (RFC 5936, 2.2).
        return wire.until(lambda seen: cutters.count(ANSWERS, seen) == len(questions) + 3 + len(hosts) + len(texts) + 1)


CONTENT = b"protobuf:dnstap.Dnstap"
ACCEPT, START, STOP, READY, FINISH = 1, 2, 3, 4, 5


def control(kind: int) -> bytes:
    """Return a Frame Streams control frame after its escape; STOP and FINISH name no content type."""
    body = kind.to_bytes(4, "big")
    if kind not in {STOP, FINISH}:
        body += (1).to_bytes(4, "big") + len(CONTENT).to_bytes(4, "big") + CONTENT
    return bytes(4) + len(body).to_bytes(4, "big") + body


@capture("unbound-dnstap", program="unbound", package="unbound", cuts={"length-prefix:size=4": FRAMES})
def unbound_dnstap(folder: Path) -> bytes:
    """Frame Streams with dnstap events of 20 queries and answers: an empty frame escapes a control frame."""
    port, path = free_port(), folder / "dnstap.sock"
    local = "\n".join(f'local-data: "host{number}.example. A 192.0.2.{number}"' for number in range(20))
    (folder / "unbound.conf").write_text(f"""
        server:
            interface: 127.0.0.1
            port: {port}
            do-daemonize: no
            chroot: ""
            username: ""
            pidfile: ""
            directory: "{folder}"
            use-syslog: no
            num-threads: 1
            local-zone: "example." static
            {local}
        remote-control:
            control-enable: no
        dnstap:
            dnstap-enable: yes
            dnstap-socket-path: "{path}"
            dnstap-identity: "ns1.example"
            dnstap-send-identity: yes
            dnstap-log-client-query-messages: yes
            dnstap-log-client-response-messages: yes
    """)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(PATIENCE)
        with (
            running("unbound", "-d", "-c", folder / "unbound.conf") as process,
            Wire(server.accept()[0]) as tap,
        ):
            tap.until(lambda seen: seen == control(READY))
            tap.send(control(ACCEPT))
            with connect(port, process) as client:
                for number in range(20):
                    client.send(query(number, f"host{number}.example", A))
                    client.until(lambda seen, number=number: cutters.count(ANSWERS, seen) == number + 1)
            tap.until(lambda seen: cutters.count(FRAMES, seen) == 2 + 2 + 40)
            process.terminate()
            tap.until(lambda seen: seen.endswith(control(STOP)))
            with contextlib.suppress(ConnectionError):  # it need not wait for the last word
                tap.send(control(FINISH))
                tap.rest()
            return tap.received
