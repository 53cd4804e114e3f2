"""The command line as Python objects; see :mod:`ray.scripts.scripts`."""
