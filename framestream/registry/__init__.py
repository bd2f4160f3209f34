"""Framers by name: the hooks, the plugins that implement them, and a manager that no plugin can break."""
