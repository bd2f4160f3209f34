"""Certificates for tests, signed by an authority that lives as long as the test run."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trustme

from framestream import client_tls, server_tls


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: the authority, and a certificate for localhost, 127.0.0.1 and ::1 with its key."""

    ca: str
    certificate: str
    key: str

    def server(self, **options):
        return server_tls(self.certificate, self.key, **options)

    def client(self, **options):
        return client_tls(ca=self.ca, **options)


@functools.cache
def _directory():
    return tempfile.TemporaryDirectory(prefix="framestream-certificates-")


@functools.cache
def certificates(*names: str) -> Certificates:
    """Return certificates for these hosts; for this machine if none is named."""
    directory = Path(_directory().name)
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("localhost", "127.0.0.1", "::1")))
    files = [directory / f"{'-'.join(names)}{kind}.pem" for kind in ("ca", "certificate", "key")]
    authority.cert_pem.write_to_path(files[0])
    for blob in issued.cert_chain_pems:
        blob.write_to_path(files[1], append=True)
    issued.private_key_pem.write_to_path(files[2])
    return Certificates(*map(str, files))
