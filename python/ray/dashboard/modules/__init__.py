"""See :mod:`ray.dashboard`."""
