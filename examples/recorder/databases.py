"""Redis, memcached, PostgreSQL, MariaDB."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from recorder import cutters
from recorder.programs import Wire, as_user, connect, find_program, free_port, running, wait_until
from recorder.recipe import capture

CRLF_LINES = cutters.delimited(b"\r\n")
MYSQL_PACKETS = cutters.prefixed(3, adjust=1, little=True)


def _redis(folder: Path, port: int) -> list[str]:
    quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *quiet]


@capture(
    "redis-replies",
    program="redis-server",
    package="redis-server",
    cuts={r'delimiter:"\r\n"': CRLF_LINES, "line": cutters.delimited(b"\n")},
)
def redis_replies(folder: Path) -> bytes:
    """Replies (RESP) to a pipeline of commands, among them a nested array, a null and an error."""
    port = free_port()
    commands = [
        b"PING",
        b"SET greeting 'hello, stream'",
        b"GET greeting",
        b"GET nothing",
        b"INCR visits",
        b"INCRBY visits 41",
        b"RPUSH queue one two three",
        b"LRANGE queue 0 -1",
        b"HSET point x 3 y 4",
        b"HGETALL point",
        b"INCR greeting",
        b"MULTI",
        b"INCR visits",
        b"EXEC",
        b"GEORADIUS Sicily 15 37 200 km",
        b"COMMAND INFO get set",
        b"INFO keyspace",
        b"QUIT",
    ]
    with running(*_redis(folder, port)) as process, connect(port, process) as wire:
        wire.send(b"".join(command + b"\r\n" for command in commands))
        return wire.rest()


@capture("redis-monitor", program="redis-server", package="redis-server", cuts={"line": cutters.delimited(b"\n")})
def redis_monitor(folder: Path) -> bytes:
    """What MONITOR tells one client while another runs 24 commands."""
    port = free_port()
    with running(*_redis(folder, port)) as process, connect(port, process) as watcher:
        watcher.send(b"MONITOR\r\n")
        watcher.until(lambda seen: seen == b"+OK\r\n")
        with connect(port, process) as client:
            for number in range(24):
                client.send(b"SET key:%d value-%d\r\n" % (number % 5, number))
                client.until(lambda seen, replies=number + 1: seen.count(b"\n") == replies)
        return watcher.until(lambda seen: seen.count(b"\n") == 25)


@capture("memcached-text", program="memcached", package="memcached", cuts={"line": CRLF_LINES})
def memcached_text(folder: Path) -> bytes:
    """Replies of the text protocol: stored values, counters, meta commands, settings, an error."""
    port = free_port()
    commands = (
        b"set fruit 0 0 5\r\napple\r\n"
        b"set count 7 0 2\r\n10\r\n"
        b"get fruit count missing\r\n"
        b"gets fruit\r\n"
        b"incr count 32\r\n"
        b"incr fruit 1\r\n"
        b"mg fruit v s t\r\n"
        b"mn\r\n"
        b"no such command\r\n"
        b"delete fruit\r\n"
        b"stats settings\r\n"
        b"verbosity 0\r\n"
        b"quit\r\n"
    )
    with (
        running("memcached", "-l", "127.0.0.1", "-p", str(port), "-u", "nobody", "-m", "64") as process,
        connect(port, process) as wire,
    ):
        wire.send(commands)
        return wire.rest()


def _postgres_message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


@capture(
    "postgresql-backend",
    program="postgres",
    package="postgresql-15",
    cuts={"length-prefix:size=4,offset=1,adjust=-4": cutters.prefixed(4, offset=1, adjust=-4)},
)
def postgresql_backend(folder: Path) -> bytes:
    """Backend messages of protocol 3 after the start-up: parameters, two result sets, a notice, an error."""
    port, data = free_port(), folder / "data"
    data.mkdir()
    if os.geteuid() == 0:
        subprocess.run(["chown", "postgres:", data], check=True)
    initdb = [*as_user("postgres"), find_program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"]
    flags = ["--no-locale", "-E", "UTF8", "--no-sync", "--no-instructions"]
    subprocess.run([*initdb, *flags], check=True, stdout=subprocess.DEVNULL, cwd="/")
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "fsync=off"]
    options = [part for setting in settings for part in ("-c", setting)]
    statements = [
        b"CREATE TABLE fruit (id int PRIMARY KEY, name text, weight numeric)",
        b"INSERT INTO fruit SELECT n, repeat('apple', n), n * 1.5 FROM generate_series(1, 40) n",
        b"SELECT * FROM fruit ORDER BY id",
        b"SELECT NULL AS nothing, '' AS empty",
        b"DROP TABLE IF EXISTS vegetable",
        b"SELECT 1/0",
    ]
    login = b"\0\3\0\0user\0postgres\0database\0postgres\0client_encoding\0UTF8\0\0"
    command = ("postgres", "-D", data, "-p", port, *options)
    with running(*command, user="postgres", cwd="/") as process:
        # It accepts connections while it is still starting, only to refuse them.
        wait_until(lambda: "ready" in (data / "postmaster.pid").read_text(), process)
        wire = connect(port, process)
        wire.send(_postgres_message(b"", login))
        for number, statement in enumerate(statements):
            ready = number + 1
            wire.until(lambda seen, ready=ready: seen.count(b"Z\0\0\0\x05I") == ready)
            wire.send(_postgres_message(b"Q", statement + b"\0"))
        wire.until(lambda seen: seen.count(b"Z\0\0\0\x05I") == len(statements) + 1)
        wire.send(_postgres_message(b"X", b""))
        return wire.rest()


@capture(
    "mariadb-packets",
    program="mariadbd",
    package="mariadb-server-core",
    cuts={"length-prefix:size=3,byteorder=little,adjust=1": MYSQL_PACKETS},
)
def mariadb_packets(folder: Path) -> bytes:
    """Server packets: 3-byte little-endian length and a sequence number; greeting, a result set, an error."""
    port, data = free_port(), folder / "data"
    data.mkdir()
    flags = [f"--datadir={data}", f"--socket={folder / 'socket'}", "--skip-grant-tables"]
    flags += [f"--port={port}", "--bind-address=127.0.0.1", "--innodb-log-file-size=4M"]
    flags += ["--user=root"] if os.geteuid() == 0 else []
    # Greeting and OK; then column count, three columns and the end of both, 50 rows and their end; an error.
    login_packets, result_packets = 2, 1 + 3 + 1 + 50 + 1
    query = b"SELECT seq, REPEAT('x', seq * 7), NULL FROM (WITH RECURSIVE n AS (SELECT 1 AS seq UNION ALL "
    query += b"SELECT seq + 1 FROM n WHERE seq < 50) SELECT seq FROM n) AS t"
    # 4.1 protocol, secure connection, transactions; no database, no plug-in negotiation.
    login = (0x00008A00 | 0x200).to_bytes(4, "little") + (1 << 24).to_bytes(4, "little") + b"\x21" + bytes(23)
    with running("mariadbd", "--no-defaults", *flags) as process, connect(port, process) as wire:
        _until_packets(wire, 1)
        wire.send(_mysql_packet(1, login + b"root\0\0"))
        _until_packets(wire, login_packets)
        wire.send(_mysql_packet(0, b"\x03" + query))
        _until_packets(wire, login_packets + result_packets)
        wire.send(_mysql_packet(0, b"\x03SELECT no_such_column"))
        _until_packets(wire, login_packets + result_packets + 1)
        wire.send(_mysql_packet(0, b"\x01"))
        return wire.rest()


def _mysql_packet(sequence: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([sequence]) + body


def _until_packets(wire: Wire, packets: int) -> None:
    wire.until(lambda seen: cutters.count(MYSQL_PACKETS, seen) == packets)
