"""COBS and COBS/R for framestream: packets without zero bytes, each ended by a zero."""

from framestream_cobs._cobs import Cobs, CobsR

__all__ = ["Cobs", "CobsR"]
