"""`connect` and `serve`: TCP, Unix sockets, TLS, pipes and sub-processes."""

from framestream.net._connect import connect
from framestream.net._connections import ServerStats
from framestream.net._process import ProcessStream, connect_process
from framestream.net._serve import serve
from framestream.net._server import Server
from framestream.net._tls import client_tls, server_tls

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
