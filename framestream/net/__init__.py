"""`connect` and `serve`: TCP, Unix sockets, TLS, pipes and sub-processes."""

from framestream.net.connect import connect
from framestream.net.process import ProcessStream, connect_process
from framestream.net.serve import serve
from framestream.net.server import Server
from framestream.net.stats import Histogram, ServerStats
from framestream.net.streams import client_tls, server_tls

__all__ = [
    "Histogram",
    "ProcessStream",
    "Server",
    "ServerStats",
    "client_tls",
    "connect",
    "connect_process",
    "serve",
    "server_tls",
]
