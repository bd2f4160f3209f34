"""Syslog over TCP and TLS for framestream: RFC 6587 and RFC 5425."""

from framestream_syslog._syslog import Syslog

__all__ = ["Syslog"]
