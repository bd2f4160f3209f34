import os
import socket
from urllib.parse import urlsplit

import pytest
from stream_pairs import raised, refused

from framestream import ConnectError, IOStream, blocking, connect, serve
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
TCP = "; write tcp://HOST:PORT, an IPv6 address in brackets"
try:
    urlsplit("//[::1]x:80")
    BESIDE_BRACKETS = "more than a host and a port"
except ValueError:  # later releases of Python find it out themselves
    BESIDE_BRACKETS = "invalid IPv6 URL"
REFUSED = {
    "http://x:1/": f"'http://x:1/' {SCHEMES}; did you mean 'tcp://x:1'?",
    "": f"'' {SCHEMES}",
    "folder/fifo": f"'folder/fifo' {SCHEMES}",
    "systemd": f"'systemd' {SCHEMES}",
    "localhost:80": f"'localhost:80' {SCHEMES}; did you mean 'tcp://localhost:80'?",
    ":80": f"':80' {SCHEMES}; did you mean 'tcp://:80'?",
    "tcp:localhost:1": f"'tcp:localhost:1': no port{TCP}",
    "tcp://localhost": f"'tcp://localhost': no port{TCP}",
    "tcp://::1:80": f"'tcp://::1:80': port could not be cast to integer value as ':1:80'{TCP}",
    "tcp://[::1:80": f"'tcp://[::1:80': invalid IPv6 URL{TCP}",
    "tls://x:65536": "'tls://x:65536': port out of range 0-65535; write tls://HOST:PORT, an IPv6 address in brackets",
    "tcp://u:p@x:80": f"'tcp://u:p@x:80': more than a host and a port{TCP}",
    "tcp://x:80/y": f"'tcp://x:80/y': more than a host and a port{TCP}",
    "tcp://x:80?": f"'tcp://x:80?': more than a host and a port{TCP}",
    "tcp://x\ny:80": f"'tcp://x\\ny:80': more than a host and a port{TCP}",  # which is no other host
    "tcp://[::1]x:80": f"'tcp://[::1]x:80': {BESIDE_BRACKETS}{TCP}",
    "tcp://x[::1]:80": f"'tcp://x[::1]:80': {BESIDE_BRACKETS}{TCP}",
    "https://x:443": f"'https://x:443' {SCHEMES}; did you mean 'tls://x:443'?",
    "redis://x:1": f"'redis://x:1' {SCHEMES}; did you mean 'tcp://x:1'?",
    "/\ud800": r"'/\ud800' is not text that the system can be given: surrogates not allowed",
    "unix:/\ud800": r"'unix:/\ud800' is not text that the system can be given: surrogates not allowed",
    "/a\0b": "a NUL character in '/a\\x00b'",
    "unix:/a\0b": "a NUL character in 'unix:/a\\x00b'",
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
    refused(AddressError, parse_url, str(tmp_path / "nothing"), match="nothing: no such file or directory")
    monkeypatch.chdir(tmp_path)
    assert Pipe("./fifo") == parse_url("./fifo")
    refused(AddressError, parse_url, "fifo", match=f"^'fifo' {SCHEMES}; did you mean './fifo'\\?$")
    monkeypatch.delattr(socket, "AF_UNIX")
    refused(AddressError, parse_url, "unix:/x", match="'unix:/x' asks for a Unix socket, and this system has none")


def test_what_is_no_text_or_no_host_name_is_refused():
    for url in (None, 80, b"tcp://x:1", ("localhost", 80)):
        refused(TypeError, parse_url, url, match="^url is .*; it must be text, such as 'tcp://HOST:PORT'$")
    for host in ("x..y", "\udcff", 64 * "x"):
        refused(AddressError, parse_url, f"tcp://{host}:80", match="^'tcp://.*:80': .*; write tcp://HOST:PORT")


@pytest.mark.asyncio_only
async def test_a_likely_mistake_is_told_what_to_write():
    refused(TypeError, blocking.serve, "tcp://:0", print, match="the handler comes first, then the URL")
    refused(TypeError, IOStream, "tcp://:1", match=r"connect\(url\) opens one")
    refused(TypeError, blocking.framed, "tcp://:1", "line", match=r"connect\(url\) opens one")


@pytest.mark.asyncio_only
async def test_a_path_that_is_too_long_for_a_unix_socket_is_refused_in_one_line():
    url = "unix:/" + 108 * "x"
    await raised(ConnectError, connect, url, match=f"cannot connect to {url}: AF_UNIX path too long")
    await raised(OSError, serve, print, url, match=f"cannot listen on {url}: AF_UNIX path too long")
