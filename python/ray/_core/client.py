"""The connection of this process to its node daemon (being written).

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
"""
