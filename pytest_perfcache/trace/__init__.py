"""What a unit of work touched while it ran."""
