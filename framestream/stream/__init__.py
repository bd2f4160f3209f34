"""Streams: one receiver, one sender, and the ways to read; for those who build reads of their own."""
