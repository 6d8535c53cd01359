"""What is remembered between runs, in bytes."""
