"""The built-in framers as a plugin: they register through the same hook as anybody's."""

from __future__ import annotations

from framestream.framers import BUILT_IN
from framestream.registry._hookspecs import Register, hookimpl


@hookimpl
def framestream_register_framers(register: Register) -> None:
    """Register every built-in framer."""
    for name, place in BUILT_IN.items():
        register(name, f"framestream.framers.{place}")
