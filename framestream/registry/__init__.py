"""Framers by name: the hooks, the plugins that implement them, and the manager that none of them can hurt."""
