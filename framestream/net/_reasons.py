"""Why something could not be reached, or listened on, in a few words."""

from __future__ import annotations

import errno
import os
import socket
import ssl


def reason(error: BaseException) -> str:
    """Return why, in a few words of lower case: the system's own, not Python's rendering of them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _lower(error.verify_message)
    if isinstance(error, ssl.SSLError):  # its errno is none of the system's
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, socket.gaierror):  # nor is its
        return _lower(error.strerror or str(error))
    if isinstance(error, OSError) and error.errno and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return _lower(str(error)) or type(error).__name__


def _lower(text: str) -> str:
    is_acronym = text[:2].isupper() and text[1:2] != " "
    return text if is_acronym else text[:1].lower() + text[1:]
