import inspect
import os
import re
import socket
import sys
from pathlib import Path

import pytest
from stream_pairs import raised, refused

from framestream import IOStream, Line, blocking, connect, serve
from framestream.errors import AddressError
from framestream.net.urls import Activated, Command, Descriptors, Pipe, Tcp, Unix, parse_url

URLS = {
    "tcp://localhost:4000": Tcp("localhost", 4000),
    "tcp://127.0.0.1:0/": Tcp("127.0.0.1", 0),
    "tcp://[fe80::1%eth0]:4000": Tcp("fe80::1%eth0", 4000),
    "tcp://:4000": Tcp("", 4000),
    "tls://example.org.:443": Tcp("example.org.", 443, tls=True),
    "tcp://b\u00fccher_.example:1": Tcp("b\u00fccher_.example", 1),
    "unix:app.sock": Unix("app.sock"),
    "unix:///run/app.sock": Unix("/run/app.sock"),
    "unix:@app": Unix("@app"),
    "fd:3": Descriptors(3, 3),
    "fd:0,1": Descriptors(0, 1),
    "pipe:/run/fifo": Pipe("/run/fifo"),
    "pipe:>/run/fifo": Pipe("/run/fifo", writes=True),
    "exec:nvim --embed 'a b'": Command(("nvim", "--embed", "a b")),
    "systemd:": Activated(),
    "systemd:web": Activated("web"),
}


@pytest.mark.parametrize(("url", "endpoint"), URLS.items())
def test_a_url_names_its_endpoint_and_an_endpoint_prints_as_such_a_url(url, endpoint):
    assert endpoint == parse_url(url) == parse_url(str(endpoint))


SCHEMES = "begins with none of the schemes tcp, tls, unix, fd, pipe, exec, systemd"
NO_HOST = "is not a host name; each part of one has 1 to 63 letters, digits or hyphens"
REFUSED = {
    "http://x:1/": f"'http://x:1/' {SCHEMES}; did you mean 'tcp://x:1'?",
    "https://x": f"'https://x' {SCHEMES}; did you mean 'tls://x:PORT'?",
    "": f"'' {SCHEMES}",
    "folder/fifo": f"'folder/fifo' {SCHEMES}",
    "localhost:80": f"'localhost:80' {SCHEMES}; did you mean 'tcp://localhost:80'?",
    "tcp:localhost:1": "no // in 'tcp:localhost:1'; write tcp://HOST:PORT",
    "tls://localhost": "no port in 'tls://localhost'; write tls://HOST:PORT",
    "tcp://::1:80": "the IPv6 address in 'tcp://::1:80' needs brackets; write tcp://[::1]:PORT",
    "tcp://[::1:80": "the IPv6 address in 'tcp://[::1:80' needs brackets; write tcp://[::1]:PORT",
    "tcp://x:http": "port 'http' in 'tcp://x:http' is not a number from 0 to 65535",
    "tcp://x:65536": "port '65536' in 'tcp://x:65536' is not a number from 0 to 65535",
    "tcp://x..y:80": f"'x..y' in 'tcp://x..y:80' {NO_HOST}",
    "tcp://\udcff:80": f"'\\udcff' in 'tcp://\\udcff:80' {NO_HOST}",
    "tcp://[x]:80": "no IPv6 address in the brackets of 'tcp://[x]:80'; write tcp://[::1]:PORT",
    "tcp://u:p@x:80": "a user in 'tcp://u:p@x:80', which is never used; write tcp://HOST:PORT",
    "/a\0b": "a NUL character in '/a\\x00b'",
    "unix:/\ud800": r"'unix:/\ud800' is not text that the system can be given: surrogates not allowed",
    "/\ud800": r"'/\ud800' is not text that the system can be given: surrogates not allowed",
    "unix:": "no path in 'unix:'; write unix:/PATH or unix:@NAME",
    "fd:2147483648": "'fd:2147483648' names no descriptor; write fd:N or fd:READ,WRITE",
    "fd:\u0661": "'fd:\u0661' names no descriptor; write fd:N or fd:READ,WRITE",
    "pipe:>": "no path in 'pipe:>'; write pipe:/PATH or pipe:>/PATH",
    "exec:": "no program in 'exec:'; write exec:PROGRAM ARGUMENTS",
    "exec:'' x": "no program in \"exec:'' x\"; write exec:PROGRAM ARGUMENTS",
    "exec:'": 'cannot split "exec:\'" into words: no closing quotation',
}


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_a_malformed_url_is_refused_with_what_to_write(url, reason):
    with pytest.raises(AddressError) as caught:
        parse_url(url)
    assert (reason, url) == (str(caught.value), caught.value.url)


def test_a_bare_path_is_what_it_is_in_the_file_system(tmp_path, monkeypatch):
    fifo, path = str(tmp_path / "fifo"), str(tmp_path / "socket")
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
    assert [Unix(path), Pipe(fifo), Pipe("/dev/null")] == [parse_url(it) for it in (path, fifo, "/dev/null")]
    refused(AddressError, parse_url, str(tmp_path), match="is not a socket, FIFO or device")
    with pytest.raises(AddressError, match=r"nothing: no such file or directory"):
        parse_url(str(tmp_path / "nothing"))
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(AddressError, match="'unix:/x' asks for a Unix socket, and this system has none"):
        parse_url("unix:/x")


@pytest.mark.parametrize(("url", "meant"), [
    (("::1", 80, 0, 0), "'tcp://[::1]:80'"), (80, "'tcp://:80'"), (b"tcp://x:1", "'tcp://x:1'"),
    (Path("/dev/tty"), "'/dev/tty'"), (Path("tty"), "'./tty'"),
], ids=str)  # fmt: skip
def test_an_address_of_another_form_is_refused_with_the_text_to_write(url, meant):
    refused(TypeError, parse_url, url, match=re.escape(f"{url!r}; it must be text: {meant}"))
    refused(TypeError, parse_url, None, match="url is None; it must be text$")


HOST_AND_PORT = r"the URL has both host and port: 'tcp://localhost:80'"
FRAMER = "pass a framer by name: framer=..."
SOCKET = r"IOStream\(sock\) makes a stream"
CALLS = [
    (("localhost", 80), {}, HOST_AND_PORT),
    (("localhost", "80"), {"ssl": True}, HOST_AND_PORT),
    ((("localhost", 80), 5.0), {}, HOST_AND_PORT),
    ((), {"host": "localhost", "port": 80}, HOST_AND_PORT),
    ((), {"port": 80}, "'tcp://:80'"),
    ((), {"path": "/run/app.sock"}, "'unix:/run/app.sock'"),
    ((), {"sock": socket.socket}, SOCKET),
    ((socket.socket,), {}, SOCKET),
    (("tcp://localhost:80", Line), {}, FRAMER),
    (("tcp://localhost:80", "line"), {}, FRAMER),
    ((), {}, r"\(\) missing 1 required positional argument: 'url'$"),
    (("tcp://localhost:80",), {"ssl": True}, "unknown stream option: ssl; did you mean tls?"),
    (("tcp://localhost:80",), {"limit": 9}, "limit; did you mean max_frame_size?"),
    (("tcp://localhost:80",), {"idle_timout": 9}, "idle_timout; did you mean idle_timeout?"),
]


@pytest.mark.parametrize(("arguments", "options", "told"), CALLS, ids=str)
@pytest.mark.asyncio_only
async def test_a_call_meant_for_another_library_is_told_what_to_write(arguments, options, told):
    assert inspect.iscoroutinefunction(connect)
    assert inspect.iscoroutinefunction(serve)
    with socket.socket() as sock:
        arguments = [sock if one is socket.socket else one for one in arguments]
        options = {name: sock if one is socket.socket else one for name, one in options.items()}
        await raised(TypeError, connect, *arguments, match=told, **options)
        await raised(TypeError, serve, print, *arguments, match=told, **options)
        refused(TypeError, blocking.connect, *arguments, match=told, **options)
        refused(TypeError, blocking.serve, print, *arguments, match=told, **options)


@pytest.mark.asyncio_only
async def test_the_handler_comes_before_the_url_and_only_a_socket_is_a_stream_already():
    await raised(TypeError, serve("tcp://:0", print), match="the handler comes first, then the URL")
    refused(TypeError, blocking.serve, ("", 0), print, match="the handler comes first, then the URL")
    refused(TypeError, IOStream, "tcp://:1", match=r"connect\(url\) opens one")
    refused(TypeError, blocking.framed, "tcp://:1", "line", match=r"connect\(url\) opens one")


LONG = {
    "/" + 107 * "x": "the path in '{}' has 108 bytes; a Unix socket's has 107 at most",
    "/" + 54 * "\u00e9": "the path in '{}' has 109 bytes",
    "@" + 108 * "x": "the name, with its @, in '{}' has 109 bytes; a Unix socket's has 108 at most",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is another elsewhere")
@pytest.mark.asyncio_only
async def test_the_longest_unix_paths_are_served_and_longer_ones_refused(tmp_path, monkeypatch):
    for path, what in LONG.items():
        url = f"unix:{path}"
        for reach in (connect(url), serve(print, url)):
            await raised(AddressError, reach, match=re.escape(what.format(url)))
    monkeypatch.chdir(tmp_path)
    for path in (107 * "x", "@" + f"{os.getpid()}".ljust(107, "x")):
        async with await serve(print, f"unix:{path}") as server, await connect(server.url):
            pass
