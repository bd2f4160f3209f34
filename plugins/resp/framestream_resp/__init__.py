"""RESP for framestream: the protocol of Redis, Valkey and their clients, versions 2 and 3."""

from framestream_resp._resp import Resp
from framestream_resp._values import Attributed, ErrorReply, Pairs, Push, Verbatim, command

__all__ = ["Attributed", "ErrorReply", "Pairs", "Push", "Resp", "Verbatim", "command"]
