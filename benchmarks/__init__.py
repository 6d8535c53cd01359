"""Measurements of pytest-perfcache on suites that its authors did not write."""
