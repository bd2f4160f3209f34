"""What a stream reads from and writes to: sockets, pipes, TLS over any of them."""
