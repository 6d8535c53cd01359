"""Scenarios: small projects, edits step by step, and exactly which tests ran after each step and why."""
