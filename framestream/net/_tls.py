"""TLS contexts with the platform's secure defaults."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from framestream.net._reasons import reason

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

Path: TypeAlias = "str | os.PathLike[str]"

HANDSHAKE_TIMEOUT = 10.0
"""Seconds a peer has for the TLS handshake, unless told otherwise."""


def client_tls(
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """Return a context for connecting: the server's certificate and host name are checked.

    Args:
        ca: file of certificates to trust, in PEM; by default those the platform trusts.
        certificate: file of this client's own certificate chain, for servers that ask for one.
        key: file of its private key, if it is not in the same file.
        alpn: protocols to offer, in order of preference (RFC 7301).

    Raises:
        OSError: a file cannot be read, or holds something else; names it. ``ssl.SSLError`` is one, too.
    """
    with _naming(f"the certificates to trust in {ca}"):
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    return _prepared(context, certificate, key, alpn)


def server_tls(
    certificate: Path,
    key: Path | None = None,
    *,
    client_ca: Path | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """Return a context for serving with this certificate chain and key, both PEM files.

    Args:
        certificate: file of the certificate chain.
        key: file of the private key, if it is not in the same file.
        client_ca: file of certificates to trust; given, every client must show one that is signed by them.
        alpn: protocols to accept, in order of preference (RFC 7301).

    Raises:
        OSError: as for `client_tls`.
    """
    with _naming(f"the certificates to trust in {client_ca}"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return _prepared(context, certificate, key, alpn)


def _prepared(
    context: ssl.SSLContext, certificate: Path | None, key: Path | None, alpn: Sequence[str]
) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Python 3.10's default too; older is broken
    if certificate is not None:
        with _naming(f"the certificate in {certificate} with the key in {key or certificate}"):
            context.load_cert_chain(certificate, key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Name the files in what the TLS library says, which is not even the reason where a file is no PEM."""
    try:
        yield
    except OSError as error:
        why = "one is missing or no PEM" if "PEM lib" in str(error) else reason(error)
        text = f"cannot use {what}: {why}"
        if isinstance(error, ssl.SSLError):  # prints its arguments unless there are two
            raise type(error)(error.errno, text) from error
        told = type(error)(text)
        told.errno = error.errno
        raise told from error
