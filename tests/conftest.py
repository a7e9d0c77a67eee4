"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

# Machines are shared and the first import of torch takes seconds: time says nothing about a law.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("laws")
