"""Framers by name: the hooks, the plugins that implement them, and the host that none of them can hurt."""
