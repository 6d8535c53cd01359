"""Order, resources and assignment of what must run."""
