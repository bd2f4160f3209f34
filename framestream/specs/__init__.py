"""Framing as a string: ``length-prefix:size=2,max=64KiB`` to a framer and back."""
