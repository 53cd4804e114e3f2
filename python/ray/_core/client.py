"""The connection of this process to its node daemon.

Surface for public modules::

    Client.call(method, params={}, tail=b"", timeout=None) -> (result, tail)
    Client.get(refs, timeout=None), .wait(refs, num_returns, timeout, fetch_local), .put(value)
    Client.job_id, .node_id, .worker_id      bytes (4, 28, 28)
    Client.node_ip, .namespace, .session_dir, .gcs_address
    Client.hello                             dict of HELLO_OK
    Client.mode                              "driver" or "worker"
    Client.runtime_env                       dict: the job's
    Client.next_placement_group_id()         bytes (18)

Errors that the daemon reports are raised as the exceptions they name.

How it works. Exactly one thread at a time has the *reading role*: it reads
the data connection for everybody (:mod:`ray._core.reader`). A thread that
waits takes the role if it is free; else it sleeps until the reader wakes it
or leaves. What is written goes to one buffer, in order; a thread that is about
to wait sends it, and a small thread sends what nobody waits for within a
millisecond or two. Dropped references are noted in a queue (``__del__`` may
run anywhere) and released with the next batch.
"""

from ray._core.submitting import Submits
from ray._core.waiting import Waits


class Client(Submits, Waits):
    """One process's connection to the cluster."""
