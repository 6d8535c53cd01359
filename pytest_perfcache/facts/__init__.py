"""What the world looks like now: one module a kind of fact."""
