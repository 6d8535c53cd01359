"""What must run, and why: pure functions from records and facts to verdicts."""
