"""The base protocol of LSP and DAP for framestream: JSON behind a Content-Length header."""

from framestream_lsp._lsp import Lsp

__all__ = ["Lsp"]
