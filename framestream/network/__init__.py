"""`connect` and `serve`: TCP, Unix sockets, TLS, pipes and sub-processes."""

from framestream.network._connect import connect
from framestream.network._connections import ServerStats
from framestream.network._process import ProcessStream, connect_process
from framestream.network._serve import serve
from framestream.network._server import Server
from framestream.network._tls import client_tls, server_tls

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
