"""Use without replacing anything, and the order of imports: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_installing_too_late_is_refused():
    program = """
import tornado.iostream
import framestream_tornado
try:
    framestream_tornado.install()
except RuntimeError as error:
    print(error)
"""
    assert "tornado.iostream is imported already" in run(program)


def test_unknown_names_are_refused():
    assert "no attribute 'nothing'" in run(
        "import framestream_tornado\ntry:\n framestream_tornado.nothing\nexcept AttributeError as e: print(e)"
    )


SERVER = """
import asyncio
import ssl
import framestream_tornado
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.testing import bind_unused_port
import trustme

authority = trustme.CA()
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
authority.issue_cert("localhost").configure_cert(context)
trust = ssl.create_default_context()
authority.configure_trust(trust)

class Server(framestream_tornado.TCPServer):
    async def handle_stream(self, stream, address):
        assert framestream_tornado.adopt(stream) is stream
        try:
            while True:
                message = await stream.read("msgpack")
                await stream.send(message, "msgpack")
                await stream.read_until(b".")
        except StreamClosedError:
            print("closed")

async def main():
    server = Server(ssl_options=%s)
    sock, port = bind_unused_port()
    server.add_socket(sock)
    client = await TCPClient().connect("localhost", port, ssl_options=%s)
    assert type(client).__module__ == "tornado.iostream", "Tornado's own is still there"
    await client.write(b"\\x93\\x01\\x02\\x03")
    print(await client.read_bytes(4))
    client.close()
    await asyncio.sleep(0.05)
    server.stop()

asyncio.run(main())
"""


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_gets_streams_of_ours_with_nothing_replaced(tls: bool) -> None:
    options = ("context", "trust") if tls else ("None", "None")
    assert run(SERVER % options) == "b'\\x93\\x01\\x02\\x03'\nclosed\n"


def test_an_http_server_works_on_streams_of_ours_with_nothing_replaced() -> None:
    program = """
import asyncio
import framestream_tornado
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

class Hello(RequestHandler):
    def get(self):
        self.write(type(self.request.connection.stream).__module__)

class Server(framestream_tornado.Adopting, HTTPServer):
    pass

async def main():
    server = Server(Application([("/", Hello)]))
    sock, port = bind_unused_port()
    server.add_socket(sock)
    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
    print(answer.body.decode())
    server.stop()
    await server.close_all_connections()

asyncio.run(main())
"""
    assert run(program) == "framestream_tornado.iostream\n"
