"""HTTP: nginx and the Prometheus node exporter."""

from __future__ import annotations

import os
from pathlib import Path

from recorder import cutters
from recorder.programs import connect, free_port, running
from recorder.recipe import capture

HEAD = rb"\r?\n\r?\n"
REQUEST = b"%s %s HTTP/1.1\r\nHost: example\r\n%s\r\n"


def nginx(folder: Path, port: int) -> list[str]:
    """Write a site of two files and return the command that serves it."""
    site = folder / "site"
    site.mkdir()
    (site / "poem.txt").write_text("".join(f"line {number}: {'la ' * (number % 9)}\n" for number in range(400)))
    (site / "index.html").write_text("<!doctype html>\n<title>example</title>\n")
    for path in site.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    temporary = "\n".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off;
        master_process off;
        pid {folder / "pid"};
        error_log stderr crit;
        events {{ }}
        http {{
            access_log off;
            {temporary}
            types {{ text/html html; text/plain txt; }}
            server {{
                listen 127.0.0.1:{port};
                root {site};
                location = /old {{ return 301 /; }}
            }}
        }}
    """)
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration)]


@capture(
    "nginx-heads",
    program="nginx",
    package="nginx-light",
    cuts={
        r'regex:"\r?\n\r?\n"': cutters.matched(HEAD),
        r'delimiter:"\r\n\r\n"': cutters.delimited(b"\r\n\r\n"),
    },
)
def nginx_heads(folder: Path) -> bytes:
    """Response heads without bodies, pipelined: 200, 206, 301, 304, 404, 412."""
    port = free_port()
    requests = [
        (b"/", b""),
        (b"/poem.txt", b""),
        (b"/poem.txt", b"Range: bytes=10-99\r\n"),
        (b"/old", b""),
        (b"/poem.txt", b"If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n"),
        (b"/missing", b""),
        (b"/poem.txt", b"If-Match: never\r\nConnection: close\r\n"),
    ]
    with running(*nginx(folder, port)) as process, connect(port, process) as wire:
        wire.send(b"".join(REQUEST % (b"HEAD", path, extra) for path, extra in requests))
        return wire.rest()


@capture("nginx-responses", program="nginx", package="nginx-light", cuts={})
def nginx_responses(folder: Path) -> bytes:
    """Three responses on one connection, each a head and a body of Content-Length bytes."""
    port = free_port()
    requests = [
        (b"/", b""),
        (b"/poem.txt", b"Range: bytes=0-99\r\n"),
        (b"/missing", b"Connection: close\r\n"),
    ]
    with running(*nginx(folder, port)) as process, connect(port, process) as wire:
        wire.send(b"".join(REQUEST % (b"GET", path, extra) for path, extra in requests))
        return wire.rest()


@capture(
    "nginx-until-close",
    program="nginx",
    package="nginx-light",
    cuts={"until-close": cutters.whole, "line": cutters.delimited(b"\n")},
)
def nginx_until_close(folder: Path) -> bytes:
    """The body of an HTTP/1.0 response, which ends with the connection (its head is not in the file)."""
    port = free_port()
    with running(*nginx(folder, port)) as process, connect(port, process) as wire:
        wire.send(b"GET /poem.txt HTTP/1.0\r\n\r\n")
        return wire.rest().partition(b"\r\n\r\n")[2]


@capture(
    "node-exporter-protobuf",
    program="prometheus-node-exporter",
    package="prometheus-node-exporter",
    cuts={"length-prefix:format=varint": cutters.varint_prefixed()},
)
def node_exporter_protobuf(_folder: Path) -> bytes:
    """Metrics as delimited protobuf messages (the head of the HTTP response is not in the file)."""
    port = free_port()
    accept = b"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    address = f"--web.listen-address=127.0.0.1:{port}"
    command = ("prometheus-node-exporter", "--collector.disable-defaults", address)
    with running(*command) as process, connect(port, process) as wire:
        wire.send(b"GET /metrics HTTP/1.0\r\nAccept: %s\r\n\r\n" % accept)
        return wire.rest().partition(b"\r\n\r\n")[2]
