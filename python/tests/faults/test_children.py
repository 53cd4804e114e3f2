"""Actors whose maker's process ends: with it if it dies, not if it ends in order."""

import pytest

from .test_tasks_in_anger import drive

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("child", ["constructing", "placeless", "busy", "held"])
def test_actors_die_with_the_process_that_made_them(cluster, child):
    """Whether they have begun or not, are busy for ever, or are held by others too."""
    drive(
        cluster,
        f"""
        child = {child!r}

        @ray.remote(num_cpus=0)
        class Keeper:
            def keep(self, handle):
                self.handle = handle

            def handle_of(self):
                return self.handle

        @ray.remote(num_cpus=0, resources={{"node:__internal_head__": 0.001}})
        class Child:
            def __init__(self, hang):
                if hang:
                    time.sleep(1000)

            def sleep(self, s):
                time.sleep(s)

        @ray.remote(num_cpus=0)
        class Parent:
            def make(self, keeper):
                cls = Child.options(resources={{"nowhere": 1}}) if child == "placeless" else Child
                self.child = cls.options(name="child").remote(child == "constructing")
                if child == "held":
                    ray.get(keeper.keep.remote(self.child))
                    ray.get(self.child.sleep.remote(0))
                if child == "busy":
                    self.call = self.child.sleep.remote(1000)
                return os.getpid()

        keeper = Keeper.remote()
        parent = Parent.remote()
        pid = ray.get(parent.make.remote(keeper))

        def state():
            from ray.util.state import list_actors
            job = ray.get_runtime_context().get_job_id()
            return [a.state for a in list_actors(filters=[("class_name", "=", "Child"), ("job_id", "=", job)])]

        def until(good):
            deadline = time.monotonic() + 20
            while not good():
                assert time.monotonic() < deadline, state()
                time.sleep(0.05)

        if child in ("busy", "held"):
            until(lambda: state() == ["ALIVE"])
        else:
            until(lambda: state() == ["PENDING_CREATION"])
        os.kill(pid, signal.SIGKILL)
        until(lambda: state() == ["DEAD"])
        if child == "held":
            handle = ray.get(keeper.handle_of.remote())

            def refused():  # the head's table is ahead of what it tells the node of the actor, and that of the caller
                try:
                    ray.get(handle.sleep.remote(0))
                except ActorDiedError as error:
                    assert "its owner has died" in str(error), error
                    return True

            until(refused)
        """,
    )


def test_actors_outlive_a_worker_that_ends_in_order(cluster):
    """What a task has made and given away is not ended with its worker's last call."""
    drive(
        cluster,
        """
        @ray.remote(num_cpus=0)
        class Counter:
            def pid(self):
                return os.getpid()

        @ray.remote(max_calls=1)
        def make():
            counter = Counter.remote()
            return os.getpid(), ray.get(counter.pid.remote()), counter

        pid, actor, counter = ray.get(make.remote())
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{pid}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ray.get(counter.pid.remote()) == actor
        """,
    )
