"""Property tests may take their time: how long one example lasts says more of the machine than of the code."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("perfcache", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("perfcache")
