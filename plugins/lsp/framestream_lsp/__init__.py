"""The base protocol of LSP and DAP for framestream: JSON after a Content-Length header."""

from framestream_lsp._lsp import Lsp

__all__ = ["Lsp"]
