"""Delimited protobuf messages for framestream, decoded."""

from framestream_protobuf._protobuf import Message, Protobuf

__all__ = ["Message", "Protobuf"]
