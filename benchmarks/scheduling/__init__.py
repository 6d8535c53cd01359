"""How near the scheduler comes to the lower bound, simulated and in real runs."""
