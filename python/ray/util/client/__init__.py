"""Connecting from outside of the cluster: ``ray.init("ray://host:port")`` is the same API over TLS."""
