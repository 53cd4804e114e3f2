"""What the state API tells of a task besides its state."""

import os
import time

import pytest
import ray
from ray.util.state import list_tasks


def rows(**filters):
    return list_tasks(filters=[(key, "=", value) for key, value in filters.items()], detail=True)


def test_when_it_came_began_and_ended_and_where_it_prints(cluster, until):
    @ray.remote
    def talks():
        print("said by", os.getpid())
        return os.getpid()

    before = int(time.time() * 1000) - 1000  # clocks of processes may be read in any order
    pid = ray.get(talks.remote(), timeout=60)
    until(lambda: [row.state for row in rows(func_or_class_name="talks")] == ["FINISHED"])
    (row,) = rows(func_or_class_name="talks")
    assert before <= row.creation_time_ms <= row.start_time_ms <= row.end_time_ms
    assert [event["state"] for event in row.events] == ["PENDING_ARGS_AVAIL", "RUNNING", "FINISHED"]
    until(lambda: f"said by {pid}" in open(row.task_log_info["stdout_file"]).read())


def test_an_actor_that_ends_before_it_has_a_place(cluster, until):
    @ray.remote(resources={"nowhere": 1})
    class Waits:
        def call(self):
            return 1

    actor = Waits.remote()
    call = actor.call.remote()
    until(lambda: rows(name="Waits.__init__"))
    ray.kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(call, timeout=60)
    until(lambda: [row.state for row in rows(name="Waits.__init__")] == ["FAILED"])
    (row,) = rows(name="Waits.__init__")
    assert (row.type, row.error_type) == ("ACTOR_CREATION_TASK", "ACTOR_DIED") and "ray.kill" in row.error_message
