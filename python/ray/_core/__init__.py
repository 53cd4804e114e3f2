"""The client side of the cluster: connection, references, serialization, workers.

Everything that speaks the protocol lives in this package; the public modules
of :mod:`ray` are thin layers over it. Public modules start from
:mod:`ray._core.state` (the connected client, the running task) and nothing
else in here is public.
"""
