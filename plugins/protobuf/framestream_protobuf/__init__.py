"""Delimited protobuf messages for framestream, decoded."""

from framestream_protobuf._protobuf import Message, Protobuf, Raw

__all__ = ["Message", "Protobuf", "Raw"]
