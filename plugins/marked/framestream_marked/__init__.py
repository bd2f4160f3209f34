"""Messages with a mark and a checksum for framestream: UBX, NMEA 0183, FIX."""

from framestream_marked._fix import Fix, FixMessage
from framestream_marked._nmea import Nmea, Sentence
from framestream_marked._ubx import Ubx, UbxMessage

__all__ = ["Fix", "FixMessage", "Nmea", "Sentence", "Ubx", "UbxMessage"]
