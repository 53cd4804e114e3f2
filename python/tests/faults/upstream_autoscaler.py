"""Asks a head what upstream's own programs would ask it. Run by a Python that has upstream's package.

    upstream_autoscaler.py stub HOST:PORT [CERTIFICATE]     every method of the service, by the generated stub
    upstream_autoscaler.py client HOST:PORT                 GcsClient and what is built on it

The token is in RAY_AUTH_TOKEN. What was answered is printed as JSON.
"""

import json
import os
import sys

import grpc
from google.protobuf.json_format import MessageToDict
from ray.core.generated import autoscaler_pb2 as messages
from ray.core.generated.autoscaler_pb2_grpc import AutoscalerStateServiceStub


def by_stub(address, certificate=None):
    if certificate:
        with open(certificate, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(address, credentials)
    else:
        channel = grpc.insecure_channel(address)
    stub = AutoscalerStateServiceStub(channel)
    metadata = [("authorization", "Bearer " + os.environ["RAY_AUTH_TOKEN"])] if "RAY_AUTH_TOKEN" in os.environ else []
    answers = {}

    def ask(name, request, label=None):
        try:
            reply = getattr(stub, name)(request, metadata=metadata, timeout=20)
            answers[label or name] = MessageToDict(reply, preserving_proto_field_name=True)
        except grpc.RpcError as error:
            answers[label or name] = f"{error.code().name}: {error.details()}"
        return answers[label or name]

    constraint = messages.ClusterResourceConstraint()
    for count, bundle in ((2, {"CPU": 3.0}), (1, {"GPU": 1.0})):
        constraint.resource_requests.add(count=count).request.resources_bundle.update(bundle)
    ask(
        "RequestClusterResourceConstraint",
        messages.RequestClusterResourceConstraintRequest(cluster_resource_constraint=constraint),
    )
    state = ask("GetClusterResourceState", messages.GetClusterResourceStateRequest())
    report = messages.AutoscalingState(autoscaler_state_version=7)
    report.pending_instances.add(ray_node_type_name="small", instance_id="i-9", details="on its way")
    ask("ReportAutoscalingState", messages.ReportAutoscalingStateRequest(autoscaling_state=report))
    limits = messages.ClusterConfig(max_resources={"CPU": 64})
    ask("ReportClusterConfig", messages.ReportClusterConfigRequest(cluster_config=limits))
    ask("GetClusterStatus", messages.GetClusterStatusRequest())
    if isinstance(state, dict):
        import base64

        node = base64.b64decode(state["cluster_resource_state"]["node_states"][0]["node_id"])
        ask("DrainNode", messages.DrainNodeRequest(node_id=node, reason=1, reason_message="idle"))
        ask("DrainNode", messages.DrainNodeRequest(node_id=node), "drain without a reason")
        resize = messages.ResizeRayletResourceInstancesRequest
        ask("ResizeRayletResourceInstances", resize(node_id=node, resources={"CPU": 5, "disk": 7}))
        ask("GetClusterResourceState", messages.GetClusterResourceStateRequest(), "larger")
        ask("ResizeRayletResourceInstances", resize(node_id=node, resources={"CPU": 2, "disk": 0}), "smaller")
        ask("ResizeRayletResourceInstances", resize(node_id=node, resources={"GPU": 1}), "devices")
    # What was asked for is taken back: the next one to ask finds nothing.
    ask(
        "RequestClusterResourceConstraint",
        messages.RequestClusterResourceConstraintRequest(
            cluster_resource_constraint=messages.ClusterResourceConstraint()
        ),
        "taken back",
    )
    return answers


def by_client(address):
    from ray._raylet import GcsClient
    from ray.autoscaler._private.commands import debug_status
    from ray.autoscaler.v2.sdk import get_cluster_resource_state, get_cluster_status, request_cluster_resources
    from ray.experimental.internal_kv import _initialize_internal_kv
    from ray.scripts.scripts import _check_ray_version

    client = GcsClient(address)
    _initialize_internal_kv(client)
    _check_ray_version(client)
    space = b"of a test"
    kv = [
        client.internal_kv_get(b"a", namespace=space),
        client.internal_kv_put(b"a", b"1", False, namespace=space),
        client.internal_kv_put(b"a", b"2", False, namespace=space),
        client.internal_kv_put(b"b", b"\x00\xff", True, namespace=space),
        client.internal_kv_get(b"a", namespace=space),
        sorted(client.internal_kv_multi_get([b"a", b"b", b"c"], namespace=space).items()),
        client.internal_kv_keys(b"", namespace=space),
        client.internal_kv_exists(b"c", namespace=space),
        client.internal_kv_del(b"", True, namespace=space),
        client.internal_kv_keys(b"", namespace=space),
    ]
    request_cluster_resources(address, [{"resources": {"CPU": 1}, "label_selector": {"disk": "ssd"}}] * 3)
    state = get_cluster_resource_state(client)
    status = get_cluster_status(address)
    text = debug_status(b"", b"", verbose=True, address=address)
    request_cluster_resources(address, [])
    return {
        "kv": repr(kv),
        "constraints": [MessageToDict(c, preserving_proto_field_name=True) for c in state.cluster_resource_constraints],
        "nodes": [(n.node_status, n.total_resources()["CPU"]) for n in status.active_nodes + status.idle_nodes],
        "known": {id.hex(): node.is_head_node for id, node in client.get_all_node_info().items()},
        "status": text,
    }


if __name__ == "__main__":
    how, *words = sys.argv[1:]
    json.dump({"stub": by_stub, "client": by_client}[how](*words), sys.stdout)
