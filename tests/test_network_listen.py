import asyncio
import errno
import os
import re
import resource
import socket
import subprocess
import sys

import pytest

from framestream.errors import AddressError
from framestream.net._acceptor import Acceptor
from framestream.net._listen import activated_sockets, listen
from framestream.net._urls import parse_url


async def listening(url, *, backlog=16, reuse_port=False):
    return await listen(parse_url(url), backlog=backlog, reuse_port=reuse_port)


def close_all(sockets):
    for sock in sockets:
        sock.close()


def resolve_to(monkeypatch, *addresses):
    """Make every host name resolve to these IPv4 addresses."""

    def getaddrinfo(host, port, *_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


# TCP


async def test_port_0_is_one_free_port_for_every_address_of_the_host():
    sockets = await listening("tcp://:0")
    ports = {sock.getsockname()[1] for sock in sockets}
    close_all(sockets)
    assert len(ports) == 1
    assert {0} != ports


async def test_an_address_in_use_is_reported_with_the_url():
    (taken,) = await listening("tcp://127.0.0.1:0")
    port = taken.getsockname()[1]
    with pytest.raises(
        OSError, match=f"^cannot listen on tcp://127.0.0.1:{port}: address already in use$"
    ) as caught:
        await listening(f"tcp://127.0.0.1:{port}")
    close_all([taken])
    assert caught.value.errno == errno.EADDRINUSE


async def test_two_can_listen_on_one_port_when_both_say_so():
    (first,) = await listening("tcp://127.0.0.1:0", reuse_port=True)
    (second,) = await listening(f"tcp://127.0.0.1:{first.getsockname()[1]}", reuse_port=True)
    assert first.getsockname() == second.getsockname()
    close_all([first, second])


async def test_a_host_that_does_not_resolve_is_reported():
    with pytest.raises(OSError, match=r"^cannot listen on tcp://nowhere\.invalid:0: "):
        await listening("tcp://nowhere.invalid:0")


@pytest.mark.asyncio_only
async def test_addresses_this_machine_does_not_have_are_left_out(monkeypatch):
    resolve_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    sockets = await listening("tcp://example.org:0")
    assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1"]
    close_all(sockets)


@pytest.mark.asyncio_only
async def test_none_of_its_addresses_is_an_error(monkeypatch):
    resolve_to(monkeypatch, "192.0.2.1")
    with pytest.raises(
        OSError, match=r"cannot listen on tcp://example\.org:0: cannot assign requested address"
    ):
        await listening("tcp://example.org:0")


@pytest.mark.asyncio_only
async def test_a_chosen_port_that_is_taken_elsewhere_is_chosen_again_and_not_for_ever(monkeypatch):
    resolve_to(monkeypatch, "127.0.0.1", "0.0.0.0")
    with pytest.raises(OSError, match=r"cannot listen on tcp://example\.org:0: address already in use"):
        await listening("tcp://example.org:0")


# Unix sockets


async def test_a_stale_socket_file_is_replaced(tmp_path):
    path = str(tmp_path / "socket")
    close_all(await listening(f"unix:{path}"))
    assert os.path.exists(path)
    sockets = await listening(f"unix:{path}")
    assert path == sockets[0].getsockname()
    close_all(sockets)


async def test_a_socket_that_somebody_serves_is_left_alone(tmp_path):
    url = f"unix:{tmp_path / 'socket'}"
    sockets = await listening(url)
    with pytest.raises(OSError, match=f"cannot listen on {url}: address already in use"):
        await listening(url)
    close_all(sockets)


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="address already in use"):
        await listening(f"unix:{path}")
    assert path.read_text() == "precious"


async def test_an_abstract_socket_has_no_file():
    sockets = await listening(f"unix:@framestream-{os.getpid()}")
    assert f"\0framestream-{os.getpid()}".encode() == sockets[0].getsockname()
    close_all(sockets)


# Inherited descriptors


async def test_a_listening_descriptor_is_adopted():
    original = socket.create_server(("127.0.0.1", 0))
    name = original.getsockname()
    sockets = await listening(f"fd:{original.detach()}")
    assert name == sockets[0].getsockname()
    close_all(sockets)


async def test_a_descriptor_that_does_not_listen_is_refused_and_left_open():
    with socket.socket() as unbound, pytest.raises(AddressError, match="is a socket that does not listen"):
        await listening(f"fd:{unbound.fileno()}")
    with open(os.devnull) as file, pytest.raises(AddressError, match=r"descriptor \d+ is no socket"):
        await listening(f"fd:{file.fileno()}")


@pytest.mark.parametrize("url", ["exec:cat", "pipe:/tmp/fifo"])
async def test_nobody_can_listen_on_what_is_not_shared(url):
    with pytest.raises(AddressError, match=f"cannot listen on {re.escape(url)}"):
        await listening(url)


# Socket activation: the environment and the descriptors are those of a process of its own

ACTIVATED = """
import os, sys
from framestream.errors import AddressError
from framestream.net._listen import activated_sockets
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    print([sock.getsockname()[1] for sock in activated_sockets(sys.argv[1])])
except AddressError as error:
    print(error)
"""


def activate(name, sockets, **environment):
    # The shell moves the sockets to the descriptors that the convention demands.
    command = [sys.executable, "-c", ACTIVATED, name]
    moves = " ".join(f"{3 + i}<&{sock.fileno()}" for i, sock in enumerate(sockets))
    return subprocess.run(
        ["/bin/bash", "-c", f'exec "$@" {moves}', "bash", *command],
        env={**os.environ, **environment},
        pass_fds=[sock.fileno() for sock in sockets],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def two_sockets():
    # Numbers out of the way of 3 and 4, so that moving one does not overwrite the other.
    sockets = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as low:
            high = 50 + len(sockets)
            os.dup2(low.fileno(), high)
            sockets.append(socket.socket(fileno=high))
    yield sockets
    close_all(sockets)


def test_the_sockets_the_service_manager_passed_are_found(two_sockets):
    ports = [sock.getsockname()[1] for sock in two_sockets]
    names = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}
    assert str(ports) == activate("", two_sockets, **names)
    assert str(ports[1:]) == activate("admin", two_sockets, **names)
    assert activate("other", two_sockets, **names) == "none of the 2 sockets passed is named 'other'"
    assert str(ports) == activate("", two_sockets, LISTEN_FDS="2")


def test_sockets_passed_to_another_process_are_not_taken():
    with pytest.raises(AddressError, match="no socket was passed to this process"):
        activated_sockets("", {"LISTEN_PID": "1", "LISTEN_FDS": "1"})


@pytest.mark.parametrize("count", ["abc", "-1", "", "\u0663", "9" * 5000])
def test_a_number_of_sockets_that_is_none_is_refused(count):
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    with pytest.raises(AddressError, match=f"LISTEN_FDS is {count[:40]!r}; it must be the number of sockets"):
        activated_sockets("", environment)


def test_no_sockets_at_all_are_not_enough():
    with pytest.raises(AddressError, match=r"^none of the 0 sockets passed is named 'web'$"):
        activated_sockets("web", {"LISTEN_PID": str(os.getpid())})
    with pytest.raises(AddressError, match=r"^no socket was passed to this process: LISTEN_FDS is 0$"):
        activated_sockets("", {"LISTEN_PID": str(os.getpid())})


async def test_a_url_for_activated_sockets_needs_them():
    with pytest.raises(AddressError, match="no socket was passed to this process"):
        await listening("systemd:web")


# Accepting


class Door:
    """An acceptor on a listening socket, and what comes through it."""

    def __init__(self, sock, room=100):
        self.room = room
        self.came = asyncio.Queue()
        self.failures = asyncio.Queue()
        self.address = sock.getsockname()
        self.acceptor = Acceptor(
            [sock],
            on_connection=self._let_in,
            on_failure=self.failures.put_nowait,
            room=lambda: self.room,
        )
        self.acceptor.poke()

    def _let_in(self, connection, _):
        self.room -= 1
        connection.close()
        self.came.put_nowait(connection)


async def test_a_full_house_leaves_connections_in_the_backlog_until_there_is_room():
    (sock,) = await listening("tcp://127.0.0.1:0")
    door = Door(sock, room=1)
    with socket.create_connection(door.address), socket.create_connection(door.address):
        await door.came.get()
        door.acceptor.poke()  # there is still no room
        for _ in range(3):
            await asyncio.sleep(0)
        assert door.came.empty()
        door.room = 1
        door.acceptor.poke()
        await door.came.get()
    door.acceptor.close()
    door.acceptor.close()
    door.acceptor.poke()


async def test_many_that_wait_are_accepted_in_more_than_one_turn():
    (sock,) = await listening("tcp://127.0.0.1:0", backlog=100)
    clients = [socket.create_connection(sock.getsockname()) for _ in range(80)]
    door = Door(sock)
    for _ in clients:
        await door.came.get()
    door.acceptor.close()
    close_all(clients)


async def test_everybody_who_waits_is_accepted_before_the_end():
    (sock,) = await listening("tcp://127.0.0.1:0", backlog=300)
    clients = [socket.create_connection(sock.getsockname()) for _ in range(200)]
    door = Door(sock, room=1000)
    door.acceptor.close()
    assert len(clients) == door.came.qsize()
    close_all(clients)


async def test_no_more_are_accepted_before_the_end_than_there_is_room_for():
    (sock,) = await listening("tcp://127.0.0.1:0", backlog=300)
    clients = [socket.create_connection(sock.getsockname()) for _ in range(100)]
    door = Door(sock, room=80)
    door.acceptor.close()
    assert door.came.qsize() == 80
    close_all(clients)


class Unlucky(socket.socket):
    """A listening socket whose first connection was gone before it was accepted."""

    lost = False

    def accept(self):
        accepted = super().accept()
        if not self.lost:
            self.lost = True
            accepted[0].close()
            raise ConnectionAbortedError(errno.ECONNABORTED, "connection aborted")
        return accepted


async def test_a_connection_that_was_gone_before_it_was_accepted_is_nothing_to_pause_for():
    (sock,) = await listening("tcp://127.0.0.1:0")
    door = Door(Unlucky(fileno=sock.detach()))
    with socket.create_connection(door.address), socket.create_connection(door.address):
        await door.came.get()
    assert door.failures.empty()
    door.acceptor.close()


@pytest.fixture
def no_more_descriptors():
    """Call it, and opening anything fails with EMFILE until the function it returns is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def use_up():
        with open(os.devnull) as probe:
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), hard))
        return give_back

    def give_back():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    yield use_up
    give_back()


async def test_a_process_out_of_descriptors_goes_on_when_it_has_some_again(no_more_descriptors):
    (sock,) = await listening("tcp://127.0.0.1:0")
    door = Door(sock)
    with socket.create_connection(door.address):
        give_back = no_more_descriptors()
        errors = [await door.failures.get(), await door.failures.get()]  # it tries again by itself
        assert [error.errno for error in errors] == [errno.EMFILE, errno.EMFILE]
        assert door.came.empty()
        give_back()
        door.acceptor.poke()  # a connection has ended: no need to wait for the pause to be over
        await door.came.get()
    door.acceptor.close()


async def test_closing_ends_a_pause_for_good(no_more_descriptors):
    (sock,) = await listening("tcp://127.0.0.1:0")
    door = Door(sock)
    with socket.create_connection(door.address):
        give_back = no_more_descriptors()
        await door.failures.get()
        give_back()
        door.acceptor.close()
    assert sock.fileno() == -1
