"""The service for autoscalers, asked by upstream's own stub and client, and the same by this package's names."""

import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import time

import pytest

from .conftest import HEAD_OPTIONS, Cluster, _binary

PROGRAM = pathlib.Path(__file__).with_name("upstream_autoscaler.py")
# One task that runs, three that no node can hold, and a group that waits.
LOAD = """
    import time, ray
    from ray.util import placement_group

    ray.init(log_to_driver=False)
    keep = [ray.remote(time.sleep).remote(600)]
    keep += [ray.remote(num_cpus=50)(time.sleep).remote(1) for _ in range(3)]
    group = placement_group([{"CPU": 70}] * 2, strategy="STRICT_SPREAD")
    while ray.available_resources()["CPU"] > 1:
        time.sleep(0.02)
    print("ready", flush=True)
    time.sleep(600)
"""

# The program "client" in the words of this package.
OURS = """
    import json, sys, ray
    from ray.autoscaler._private.commands import debug_status, request_resources
    from ray.autoscaler.v2.sdk import get_cluster_status, request_cluster_resources

    address = sys.argv[1]
    if sys.argv[2] == "connected":
        ray.init(address, log_to_driver=False)
        request_resources(bundles=[{"CPU": 1}] * 3, bundle_label_selectors=[{"disk": "ssd"}] * 3)
    else:
        request_cluster_resources(address, [{"resources": {"CPU": 1}, "label_selector": {"disk": "ssd"}}] * 3)
    status = get_cluster_status(address)
    text = debug_status(b"", b"", verbose=True, address=address)
    request_cluster_resources(address, [])
    later = get_cluster_status(address).resource_demands.cluster_constraint_demand
    demands = status.resource_demands
    (group,) = demands.placement_group_demand
    json.dump({
        "nodes": [(n.node_status, n.total_resources()["CPU"]) for n in status.active_nodes + status.idle_nodes],
        "free": status.available_resources()["CPU"],
        "tasks": [str(shape) for d in demands.ray_task_actor_demand for shape in d.bundles_by_count],
        "group": [group.strategy, group.state, str(group.bundles_by_count[0])],
        "constraints": [sum(s.count for s in d.bundles_by_count) for d in demands.cluster_constraint_demand],
        "later": len(later),
        "status": text,
    }, sys.stdout)
"""

pytestmark = pytest.mark.timeout(600)  # the first test installs upstream's package


@contextlib.contextmanager
def head(*options, env=None):
    class Head(Cluster):
        def ray(self, *words, **more):
            return super().ray(*words, **{**more, "env": env})

    made = Head(_binary(), *HEAD_OPTIONS, "--include-dashboard=false")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def loaded():
    """A head with a token, under load."""
    with head() as made:
        made.token = (made.root / "home" / ".ray" / "auth_token").read_text().strip()
        made.certificate = made.root / "ray" / "session_latest" / "head.crt"
        driver = made.spawn(LOAD)
        line = driver.stdout.readline()
        assert line == "ready\n", line + driver.stderr.read()
        yield made


def ask(upstream, how, *words, **env):
    """What the program printed; it sees no setting of this process."""
    done = subprocess.run(
        [upstream, str(PROGRAM), how, *map(str, words)],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RAY_USAGE_STATS_ENABLED": "0", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def by_shape(requests):
    """Amount of CPU → count, of requests with counts."""
    return {r["request"]["resources_bundle"]["CPU"]: int(r["count"]) for r in requests}


def check_stub(said):
    state = said["GetClusterResourceState"]["cluster_resource_state"]
    (node,) = state["node_states"]
    assert node["status"] in ("RUNNING", "IDLE") and node["total_resources"]["CPU"] == 2
    (constraint,) = state["cluster_resource_constraints"]
    wanted = [(int(r["count"]), r["request"]["resources_bundle"]) for r in constraint["resource_requests"]]
    assert wanted == [(2, {"CPU": 3.0}), (1, {"GPU": 1.0})]
    both = said["GetClusterStatus"]
    assert both["autoscaling_state"]["pending_instances"][0]["instance_id"] == "i-9"
    assert both["cluster_resource_state"]["last_seen_autoscaler_state_version"] == "7"
    for name in ("ReportAutoscalingState", "ReportClusterConfig", "RequestClusterResourceConstraint", "taken back"):
        assert said[name] == {}, said[name]
    assert said["drain without a reason"].startswith("INVALID_ARGUMENT: "), said
    total = said["ResizeRayletResourceInstances"]["total_resources"]
    assert (total["CPU"], total["disk"]) == (5, 7)
    (larger,) = said["larger"]["cluster_resource_state"]["node_states"]
    assert (larger["total_resources"]["CPU"], larger["total_resources"]["disk"]) == (5, 7)
    smaller = said["smaller"]["total_resources"]
    assert smaller["CPU"] == 2 and "disk" not in smaller
    assert said["devices"].startswith("INVALID_ARGUMENT: "), said["devices"]
    return state


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plaintext"])
def test_stub_with_a_token(loaded, upstream, secure):
    words = [loaded.address, loaded.certificate] if secure else [loaded.address]
    said = ask(upstream, "stub", *words, RAY_AUTH_TOKEN=loaded.token)
    state = check_stub(said)
    assert state["node_states"][0]["status"] == "RUNNING"
    assert by_shape(state["pending_resource_requests"]) == {50.0: 3}
    (group,) = state["pending_gang_resource_requests"]
    assert group["details"].endswith(":STRICT_SPREAD|PENDING") and len(group["requests"]) == 2
    assert not said["DrainNode"].get("is_accepted") and said["DrainNode"]["rejection_reason_message"]

    env = {} if secure else {"RAY_AUTH_TOKEN": "0" * 64}
    refused = ask(upstream, "stub", *words, **env)
    assert len(refused) == 6
    assert all(text.startswith("UNAUTHENTICATED: ") for text in refused.values()), refused


def test_stub_without_a_token(upstream):
    with head(env={"RAY_AUTH_MODE": "disabled"}) as made:
        said = ask(upstream, "stub", made.address)
        check_stub(said)


def client_pair(folder):
    """A certificate and key: upstream's client wants some, though this head asks for none."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client")])
    start = datetime.datetime.fromtimestamp(time.time() - 86400)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=30)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    files = folder / "client.crt", folder / "client.key"
    files[0].write_bytes(made.public_bytes(pem))
    files[1].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return files


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plaintext"])
def test_client(loaded, upstream, tmp_path, secure):
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": loaded.token}
    if secure:
        certificate, key = client_pair(tmp_path)
        env.update(RAY_USE_TLS="1", RAY_TLS_CA_CERT=str(loaded.certificate))
        env.update(RAY_TLS_SERVER_CERT=str(certificate), RAY_TLS_SERVER_KEY=str(key))
    said = ask(upstream, "client", loaded.address, **env)
    values = "[None, 1, 0, 1, b'1', [(b'a', b'1'), (b'b', b'\\x00\\xff')], [b'a', b'b'], False, 2, []]"
    assert said["kv"] == values
    (constraint,) = said["constraints"]
    (request,) = constraint["resource_requests"]
    (selector,) = request["request"]["label_selectors"]
    assert int(request["count"]) == 3 and selector["label_constraints"][0]["label_values"] == ["ssd"]
    assert said["nodes"] == [["RUNNING", 2.0]] and list(said["known"].values()) == [True]
    assert " {'CPU': 50.0}: 3+ pending tasks/actors" in said["status"]
    assert " {'CPU': 1.0}: 3 from request_resources()" in said["status"]


@pytest.mark.parametrize("how", ["connected", "by address"])
def test_ours(loaded, how):
    status, out, err = loaded.drive(OURS, loaded.address, how)
    assert status == 0, err
    said = json.loads(out)
    assert said.pop("status").count(" {'CPU': 50.0}: 3+ pending tasks/actors") == 1
    assert said == {
        "nodes": [["RUNNING", 2.0]],
        "free": 1.0,
        "tasks": ["[3 {'CPU': 50}]"],
        "group": ["STRICT_SPREAD", "PENDING", "[2 {'CPU': 70}]"],
        "constraints": [3],
        "later": 0,
    }
