"""A small shop. All amounts of money are whole cents."""
