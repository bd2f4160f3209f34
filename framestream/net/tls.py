"""TLS contexts from files, and the platform's defaults."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from framestream.errors import describe_os_error

Path: TypeAlias = "str | os.PathLike[str]"


def client_tls(
    *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return a new context for connecting: the server's certificate and host name are checked.

    Loading the platform's certificates takes tens of milliseconds: keep the context for further connections.

    Args:
        ca: file of certificates to trust, in PEM; by default those the platform trusts.
        certificate: file of this client's own certificate chain, for servers that ask for one.
        key: file of its private key, if it is not in the same file.
        alpn: protocols to offer, in order of preference (RFC 7301).

    Raises:
        OSError: a file cannot be read, or is of another kind; names it. ``ssl.SSLError`` is one, too.
    """
    return _context(ssl.Purpose.SERVER_AUTH, ca, certificate, key, alpn)


def server_tls(
    certificate: Path, key: Path | None = None, *, client_ca: Path | None = None, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return a context for serving with this certificate chain and key, both PEM files.

    Args:
        certificate: file of the certificate chain.
        key: file of the private key, if it is not in the same file.
        client_ca: file of certificates to trust; if given, every client must present one signed by them.
        alpn: protocols to accept, in order of preference (RFC 7301).

    Raises:
        OSError: as for `client_tls`.
    """
    context = _context(ssl.Purpose.CLIENT_AUTH, client_ca, certificate, key, alpn)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def retold(error: OSError, text: str) -> OSError:
    """Return the same error with this text."""
    told = type(error)(text)  # with the text alone, since Python would print the number before it
    told.errno = error.errno
    return told


@functools.cache
def default_client_tls() -> ssl.SSLContext:
    """Return the default context of `connect`: one for the process."""
    return client_tls()


def _context(
    purpose: ssl.Purpose, ca: Path | None, certificate: Path | None, key: Path | None, alpn: Sequence[str]
) -> ssl.SSLContext:
    with _naming(f"the certificates to trust in {ca}"):
        context = ssl.create_default_context(purpose, cafile=ca)
    if certificate is not None:
        with _naming(f"the certificate in {certificate} with the key in {key or certificate}"):
            context.load_cert_chain(certificate, key)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Name the files in errors of the TLS library, which gives no reason if a file is not PEM."""
    try:
        yield
    except OSError as error:
        why = "one is missing or no PEM" if "PEM lib" in str(error) else describe_os_error(error)
        text = f"cannot use {what}: {why}"
        if isinstance(error, ssl.SSLError):  # prints its arguments unless there are two
            raise type(error)(error.errno, text) from error
        raise retold(error, text) from error
