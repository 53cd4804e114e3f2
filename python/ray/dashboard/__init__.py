"""The names under which upstream keeps its job client; everything is in :mod:`ray.job_submission`.

The dashboard itself is part of the binary.
"""
