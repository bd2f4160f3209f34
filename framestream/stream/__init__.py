"""`IOStream`: a decoder and a write buffer on a channel and an event loop."""
