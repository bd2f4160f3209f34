"""COBS and COBS/R for framestream: packets without zero bytes, ended by one."""

from framestream_cobs._cobs import Cobs, CobsR

__all__ = ["Cobs", "CobsR"]
