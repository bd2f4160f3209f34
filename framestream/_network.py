"""`connect` and `serve`: TCP, Unix sockets, TLS, pipes and sub-processes."""

from framestream._connect import connect
from framestream._serve import serve
from framestream._server import Server
from framestream._tls import client_tls, server_tls

__all__ = ["Server", "client_tls", "connect", "serve", "server_tls"]
