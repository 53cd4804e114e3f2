"""Strategies, placement groups and label selectors, before they reach a cluster."""

import pytest
from ray import _options
from ray._private.label_utils import validate_label_selector
from ray.autoscaler import sdk
from ray.util.placement_group import (
    PlacementGroup,
    check_placement_group_index,
    check_request_fits,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
    validate_placement_group,
)
from ray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
)

NODE = "ab" * 28


def test_node_affinity():
    strategy = NodeAffinitySchedulingStrategy(NODE, soft=False)
    assert (strategy.node_id, strategy.soft) == (NODE, False)
    for bad in ("not-hex", "ab", "zz" * 28):
        with pytest.raises(ValueError, match="Invalid node_id"):
            NodeAffinitySchedulingStrategy(bad, soft=False)
    with pytest.raises(ValueError):
        NodeAffinitySchedulingStrategy(NODE, soft=False, _spill_on_unavailable=True)
    with pytest.raises(ValueError):
        NodeAffinitySchedulingStrategy(NODE, soft=True, _fail_on_unavailable=True)


def test_node_labels():
    soft = {"c": NotIn("z"), "d": DoesNotExist()}
    strategy = NodeLabelSchedulingStrategy({"a": In("x", "y"), "b": Exists()}, soft=soft)
    assert [item.key for item in strategy.hard] == ["a", "b"]
    assert strategy.hard[0].operator.values == ["x", "y"]
    hard, soft = strategy._selectors()
    assert hard["a"] == "in(x,y)" and soft["c"] == "!in(z)"
    for hard in ({}, None, [], {1: In("b")}, {"a": "b"}):
        with pytest.raises(ValueError):
            NodeLabelSchedulingStrategy(hard)
    for bad in (lambda: In(), lambda: In(1), lambda: NotIn()):
        with pytest.raises(ValueError):
            bad()


@pytest.mark.parametrize(
    "arguments",
    [
        {"bundles": []},
        {"bundles": [{}]},
        {"bundles": [{"CPU": 0}]},
        {"bundles": [{"CPU": -1}]},
        {"bundles": {"CPU": 1}},
        {"bundles": [{"CPU": "1"}]},
        {"bundles": [{5: 1}]},
        {"bundles": [{"CPU": 1}], "strategy": "CLOSE"},
        {"bundles": [{"CPU": 1}], "lifetime": "forever"},
        {"bundles": [{"CPU": 1}], "bundle_label_selector": [{}, {}]},
        {"bundles": [{"CPU": 1}], "bundle_label_selector": [{"a": "in("}]},
        {"bundles": [{"CPU": 1}], "strategy": "PACK", "topology_strategy": {"ray.io/node-id": "PACK"}},
        {"bundles": [{"CPU": 1}], "_soft_target_node_id": "x"},
    ],
    ids=str,
)
def test_bad_groups(arguments):
    with pytest.raises(ValueError):
        validate_placement_group(**arguments)


def test_group_is_sent(client):
    group = placement_group([{"CPU": 1, "GPU": 0}, {"memory": 5}], "SPREAD", name="g", lifetime="detached")
    ((method, row, _),) = client.calls
    assert method == "pg.create"
    assert row["placement_group_id"] == group.id.hex() and row["creator_job_id"] == "01000000"
    assert row["bundles"] == [{"CPU": 1.0}, {"memory": 5.0}] and row["strategy"] == "SPREAD"
    assert row["is_detached"] and row["namespace"] == "ns" and row["name"] == "g"
    assert group.bundle_count == 2
    check_placement_group_index(group, 1)
    for index in (2, -2):
        with pytest.raises(ValueError, match="Valid placement group indexes: 0-1"):
            check_placement_group_index(group, index)
    remove_placement_group(group)
    assert b"pg.remove" in client.frames[-1] and group.id.hex().encode() in client.frames[-1]


ROW = {
    "placement_group_id": "07" * 14 + "01000000",
    "name": "g",
    "state": "CREATED",
    "strategy": "PACK",
    "bundles": [{"CPU": 1}, {"CPU": 2}],
    "bundle_nodes": [NODE, "00" * 28],
    "creation_ms": 12,
    "attempts": 1,
}


def test_table(client):
    client.answers["pg.table"] = lambda params: [ROW] if params.get("id") in (None, ROW["placement_group_id"]) else []
    group = placement_group([{"CPU": 1}])
    table = placement_group_table(group)
    assert table["bundles"] == {0: {"CPU": 1.0}, 1: {"CPU": 2.0}}
    assert table["bundles_to_node_id"] == {0: NODE, 1: ""}
    assert table["stats"]["scheduling_state"] == "FINISHED"
    assert table["stats"]["end_to_end_creation_latency_ms"] == 12.0
    assert list(placement_group_table()) == [ROW["placement_group_id"]]
    assert PlacementGroup(group.id).bundle_specs == [{"CPU": 1.0}, {"CPU": 2.0}]


def test_group_by_name(client):
    client.answers["pg.get"] = lambda params: ROW if params == {"name": "g", "namespace": "ns"} else None
    assert get_placement_group("g").id.hex() == ROW["placement_group_id"]
    for unknown in ("nobody", ""):
        with pytest.raises(ValueError):
            get_placement_group(unknown)


def test_empty_group():
    assert PlacementGroup.empty().is_empty and PlacementGroup.empty() == PlacementGroup.empty()
    assert PlacementGroup.empty().bundle_count == 0


@pytest.mark.parametrize(
    "selector, good",
    [
        ({"a": "b"}, True),
        ({"a": ""}, True),
        ({"ray.io/zone": "!b"}, True),
        ({"a": "in(b, c)"}, True),
        ({"a": "!in(b,c)"}, True),
        ({"a": "in()"}, False),
        ({"a": "b c"}, False),
        ({"-a": "b"}, False),
        ({"a": "x" * 64}, False),
        ({"a": 5}, False),
        (None, True),
        ([], False),
    ],
    ids=str,
)
def test_label_selectors(selector, good):
    assert (validate_label_selector(selector) is None) is good


def test_request_resources(client):
    assert sdk.request_resources(num_cpus=2, bundles=[{"GPU": 1}]) is None
    assert client.calls[-1][:2] == (
        "autoscaler.request",
        {"bundles": [{"resources": {"CPU": 1.0}, "count": 2}, {"resources": {"GPU": 1.0}, "count": 1}]},
    )
    sdk.request_resources(num_cpus=0, bundles=[])
    assert client.calls[-1][1] == {"bundles": []}
    bad = [
        {"num_cpus": "many"},
        {"num_cpus": 1.5},
        {"bundles": {"CPU": 1}},
        {"bundles": ["x"]},
        {"bundles": [{"CPU": "x"}]},
    ]
    for arguments in bad:
        with pytest.raises(TypeError):
            sdk.request_resources(**arguments)
    with pytest.raises(ValueError):
        sdk.request_resources(bundle_label_selectors=[{"a": "b"}])
    with pytest.raises(ValueError):
        sdk.request_resources(bundles=[{"CPU": 1}], bundle_label_selectors=[])


def test_a_request_must_fit_a_bundle(client):
    group = placement_group([{"CPU": 1}, {"CPU": 2, "GPU": 1}])
    check_request_fits(group, -1, {"CPU": 2})
    check_request_fits(group, 0, {"CPU": 1})
    check_request_fits(group, -1, {})
    for index, request in ((-1, {"CPU": 3}), (0, {"CPU": 2}), (-1, {"memory": 1})):
        with pytest.raises(ValueError, match="no bundle"):
            check_request_fits(group, index, request)


def test_why_a_group_is_not_there(client):
    for more, said in (
        ({}, "QUEUED"),
        ({"reason": "busy"}, "NO_RESOURCES"),
        ({"reason": "x", "infeasible": True}, "INFEASIBLE"),
    ):
        client.answers["pg.table"] = lambda params, more=more: [dict(ROW, state="PENDING", attempts=0, **more)]
        stats = placement_group_table(placement_group([{"CPU": 1}]))["stats"]
        assert (stats["scheduling_state"], stats["scheduling_attempt"]) == (said, int("reason" in more))


def test_two_strategies(client):
    group = placement_group([{"CPU": 1}])
    with pytest.raises(ValueError, match="scheduling_strategy option"):
        _options.strategy_of({"scheduling_strategy": "SPREAD", "placement_group": group})


def test_index_without_a_group(client):
    with pytest.raises(ValueError, match="bundle index must be -1"):
        _options.strategy_of({"placement_group_bundle_index": 0})


def test_what_an_actor_holds():
    """Memory alone is no reason to hold a CPU, as an empty dict is none."""
    one = {"CPU": 1.0}
    for options, held, placed in [
        ({}, {}, one),
        ({"resources": {}}, {}, one),
        ({"memory": 100}, {"memory": 100.0}, {"memory": 100.0, **one}),
        ({"num_cpus": 0, "memory": 100}, {"memory": 100.0}, None),
        ({"num_gpus": 0}, one, None),
        ({"num_gpus": 1, "memory": 100}, {"GPU": 1.0, "memory": 100.0, **one}, None),
        ({"resources": {"a": 1}}, {"a": 1.0, **one}, None),
        ({"accelerator_type": "X"}, {"accelerator_type:X": 0.001, **one}, None),
    ]:
        assert _options.actor_resources(options) == (held, placed), options
