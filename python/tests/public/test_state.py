"""The state API: rows, queries, answers that are not complete."""

import pytest
from ray.util.state import (
    get_actor,
    get_job,
    get_log,
    list_actors,
    list_logs,
    list_nodes,
    list_tasks,
    summarize_tasks,
)
from ray.util.state.common import ActorState
from ray.util.state.exception import RayStateApiException, ServerUnavailable


def payload(rows, **more):
    data = {"total": len(rows), "num_after_truncation": len(rows), "num_filtered": len(rows), "result": rows}
    return 200, {"result": True, "msg": "", "data": {"result": {**data, **more}}}


def test_rows_read_like_dicts():
    row = ActorState.from_row({"actor_id": "ab", "class_name": "A", "new_column": 1})
    assert row["class_name"] == row.class_name == "A" and row.get("pid", 7) == 7
    assert {**row}["actor_id"] == "ab" and row.asdict()["pid"] is None
    with pytest.raises(KeyError):
        row["new_column"]


def test_over_http(server):
    listed = {"actor_id": "ab", "class_name": "A", "state": "ALIVE", "pid": 5}
    server.routes["GET", "/api/v0/actors"] = payload([listed])
    (row,) = list_actors(address=server.url, filters=[("class_name", "=", "A"), ("pid", "!=", 7)], limit=5)
    assert (row.pid, row.state) == (5, "ALIVE")
    path = server.requests[0][1]
    assert "limit=5" in path and "filter_keys=class_name&filter_predicates=%3D&filter_values=A" in path
    assert "filter_keys=pid&filter_predicates=%21%3D&filter_values=7" in path
    assert get_actor("ab", address=server.url).pid == 5
    server.routes["GET", "/api/v0/actors"] = payload([])
    assert get_actor("ff", address=server.url) is None


def test_over_the_connection(client):
    client.answers["state.list"] = {"total": 1, "rows": [{"node_id": "n", "state": "ALIVE", "is_head_node": True}]}
    (node,) = list_nodes(filters=[("state", "=", "ALIVE")])
    assert node.is_head_node is True
    assert client.calls[0][1] == {
        "resource": "nodes",
        "filters": [["state", "=", "ALIVE"]],
        "limit": 100,
        "detail": False,
    }
    get_job("raysubmit_x")
    assert client.calls[-1][1]["filters"] == [["submission_id", "=", "raysubmit_x"]]


def test_bad_questions(client):
    with pytest.raises(ValueError, match="predicate"):
        list_tasks(filters=[("name", ">", "x")])
    with pytest.raises(ValueError, match="limit"):
        list_tasks(limit=0)
    with pytest.raises(ValueError, match="limit"):
        list_tasks(limit=10001)


def test_incomplete_answers(server):
    server.routes["GET", "/api/v0/tasks"] = payload([], partial_failure_warning="a node did not answer")
    with pytest.raises(RayStateApiException, match="a node did not answer"):
        list_tasks(address=server.url)
    with pytest.warns(UserWarning, match="a node did not answer"):
        assert list_tasks(address=server.url, raise_on_missing_output=False) == []
    server.routes["GET", "/api/v0/tasks"] = (500, b"out of order")
    with pytest.raises(RayStateApiException, match="out of order"):
        list_tasks(address=server.url)
    with pytest.raises(ServerUnavailable):
        list_tasks(address="http://127.0.0.1:1")


def test_summaries(server):
    summary = {"cluster": {"summary": {"f": {"state_counts": {"FINISHED": 5}}}}}
    server.routes["GET", "/api/v0/tasks/summarize"] = (
        200,
        {"result": True, "msg": "", "data": {"result": {"total": 5, "result": {"node_id_to_summary": summary}}}},
    )
    assert summarize_tasks(address=server.url) == summary


def test_logs(server):
    server.routes["GET", "/api/v0/logs"] = (200, {"result": True, "data": {"result": {"raylet": ["raylet.out"]}}})
    server.routes["GET", "/api/v0/logs/file"] = (200, b"one\ntwo\n")
    assert list_logs(address=server.url, node_id="n") == {"raylet": ["raylet.out"]}
    assert "".join(get_log(address=server.url, node_id="n", filename="raylet.out", tail=5)) == "one\ntwo\n"
    assert "lines=5" in server.requests[-1][1]
    with pytest.raises(ValueError, match="node_id"):
        list_logs(address=server.url)
