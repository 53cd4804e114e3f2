"""A cluster's status and size, asked of the head at an address.

The process need not be connected to that cluster: the ``ray`` program then makes the call.
"""

import json
import subprocess
import time
from collections import Counter
from typing import Any, Dict, List

from ray._core.finding import find_binary
from ray.autoscaler.v2.schema import ClusterStatus

#: Seconds that a call may take.
DEFAULT_RPC_TIMEOUT_S = 10


def _call(gcs_address: str, method: str, params: Dict[str, Any], timeout: float) -> Any:
    """One call to the head at an address.

    Raises:
        RpcError: it did not answer, or said no.
    """
    from ray._core import state
    from ray.exceptions import RpcError

    assert len(gcs_address) > 0, "GCS address is not specified."
    if state.is_connected() and state.client().gcs_address == gcs_address:
        return state.client().call(method, params, timeout=timeout)[0]
    try:
        done = subprocess.run(
            [find_binary(), "__call", "--address", gcs_address, method],
            input=json.dumps(params),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise RpcError(f"the head at {gcs_address} did not answer within {timeout} s") from None
    if done.returncode != 0:
        raise RpcError(done.stderr.strip().replace("Error: ", "", 1))
    return json.loads(done.stdout or "null")


def request_cluster_resources(gcs_address: str, to_request: List[dict], timeout: int = DEFAULT_RPC_TIMEOUT_S) -> None:
    """Asks a cluster to be at least this large; it replaces the request before, and an empty one takes that back.

    Args:
        gcs_address: the head's host:port.
        to_request: ``{"resources": {name: amount}, "label_selector": {label: condition}}`` for each bundle.
        timeout: seconds that the call may take.

    Raises:
        RpcError: the head did not answer, or said no.
    """
    shapes: Counter = Counter()
    for bundle in to_request:
        assert isinstance(bundle, dict), f"Internal Error: Expected a dict, but got {type(bundle)}"
        selector = bundle.get("label_selector") or {}
        shapes[frozenset(bundle.get("resources", {}).items()), frozenset(selector.items())] += 1
    rows = [
        {"resources": {name: float(amount) for name, amount in shape}, "label_selector": dict(selector), "count": count}
        for (shape, selector), count in shapes.items()
    ]
    _call(gcs_address, "autoscaler.request", {"bundles": rows}, timeout)


def get_cluster_status(gcs_address: str, timeout: int = DEFAULT_RPC_TIMEOUT_S) -> ClusterStatus:
    """A cluster's nodes, what is on its way, what failed and what waits.

    Args:
        gcs_address: the head's host:port.
        timeout: seconds that the call may take.

    Raises:
        RpcError: the head did not answer.
    """
    from ray.autoscaler.v2.utils import ClusterStatusParser

    asked = time.time()
    row = _call(gcs_address, "status", {}, timeout)
    return ClusterStatusParser.from_status(row, asked, time.time() - asked)


def get_cluster_resource_state(gcs_client: Any) -> Any:
    """Always raises: its answer is a message of upstream's protocol, which needs packages that are not there.

    ``get_cluster_status`` has the same in plain values.
    """
    raise NotImplementedError("not supported yet: ray.autoscaler.v2.sdk.get_cluster_resource_state")
