"""Netstrings for framestream: ``5:hello,``."""

from framestream_netstring._netstring import Netstring

__all__ = ["Netstring"]
