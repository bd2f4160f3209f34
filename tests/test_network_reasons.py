"""Reasons are a few words of lower case, and the system's own."""

import errno
import socket
import ssl

import pytest

from framestream.net._reasons import reason


def refused(message):
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
        (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
        (OSError("A path"), "a path"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (
            refused("IP address mismatch, certificate is not valid for '::1'."),
            "IP address mismatch, certificate",
        ),
        (refused("Hostname mismatch"), "hostname mismatch"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_reason_begins_in_lower_case_unless_it_is_a_name(error, words):
    assert reason(error).startswith(words)
