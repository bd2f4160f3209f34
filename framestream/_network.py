"""`connect` and `serve`: TCP, Unix sockets, TLS, pipes and sub-processes."""

from framestream._connect import connect
from framestream._connections import ServerStats
from framestream._process import ProcessStream, connect_process
from framestream._serve import serve
from framestream._server import Server
from framestream._tls import client_tls, server_tls

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
