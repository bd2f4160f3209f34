"""Spec strings: a framer written as text, and back."""

from __future__ import annotations


def format_spec(condition: object) -> str:
    return repr(condition)
