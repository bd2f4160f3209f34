"""JSON for framestream: one text per line, RFC 7464 sequences, texts one after another."""

from framestream_json._concat import JsonConcat
from framestream_json._lines import JsonLines
from framestream_json._seq import JsonSeq

__all__ = ["JsonConcat", "JsonLines", "JsonSeq"]
