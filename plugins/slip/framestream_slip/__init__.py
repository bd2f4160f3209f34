"""SLIP for framestream: RFC 1055 packets, for OSC, boot loaders and serial lines."""

from framestream_slip._slip import Slip

__all__ = ["Slip"]
