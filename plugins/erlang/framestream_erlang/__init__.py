"""The packet types of Erlang's sockets for framestream: each is the framing of another protocol."""

from framestream_erlang._ber import Ber
from framestream_erlang._fastcgi import FastCgi, Record
from framestream_erlang._giop import Giop
from framestream_erlang._packet import ErlangPacket
from framestream_erlang._record_marking import RecordMarking
from framestream_erlang._tpkt import Tpkt

__all__ = ["Ber", "ErlangPacket", "FastCgi", "Giop", "Record", "RecordMarking", "Tpkt"]
