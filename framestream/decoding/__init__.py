"""Sans-IO: received bytes, how far a condition has got with them, and the decoder that cuts frames."""
