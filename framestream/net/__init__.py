"""`connect` and `serve`: TCP, Unix sockets, TLS, pipes and sub-processes."""

from framestream.net.connect import connect
from framestream.net.connections import ServerStats
from framestream.net.process import ProcessStream, connect_process
from framestream.net.serve import Server, serve
from framestream.net.tls import client_tls, server_tls

__all__ = [
    "ProcessStream",
    "Server",
    "ServerStats",
    "client_tls",
    "connect",
    "connect_process",
    "serve",
    "server_tls",
]
