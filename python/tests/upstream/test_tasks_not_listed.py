"""Tasks and actors with enable_task_events=False, which the state API does not list."""

import ray
from ray.util.state import list_tasks


@ray.remote(num_cpus=0)
def inner():
    return 1


@ray.remote(num_cpus=0)
def outer(name):
    return ray.get(inner.options(name=name).remote())


@ray.remote(num_cpus=0, enable_task_events=False)
class Silent:
    def plain(self):
        return 1

    @ray.method(enable_task_events=True)
    def heard(self):
        return 1

    def call(self, name):
        return ray.get(inner.options(name=name).remote())


@ray.remote(num_cpus=0)
class Heard:
    @ray.method(enable_task_events=False)
    def silent(self):
        return 1

    def plain(self):
        return 1


def _names(names):
    return {row.name for row in list_tasks(limit=10_000) if row.name in names}


def test_a_task_that_is_not_listed(cluster, until):
    silent = outer.options(name="not-listed", enable_task_events=False)
    assert ray.get([silent.remote("its-child"), outer.options(name="listed").remote("another-child")]) == [1, 1]
    expected = {"listed", "its-child", "another-child"}
    until(lambda: _names(expected) == expected)
    assert _names({"not-listed"}) == set()


def test_methods_of_an_actor_that_is_not_listed(cluster, until):
    actor = Silent.remote()
    assert ray.get([actor.plain.remote(), actor.heard.remote()]) == [1, 1]
    ray.get(actor.plain.options(name="asked-for", enable_task_events=True).remote())
    ray.get(actor.call.remote("child-of-silent"))

    @ray.remote(num_cpus=0)
    def borrower(handle):
        return ray.get(handle.plain.remote())

    assert ray.get(borrower.options(name="borrower").remote(actor)) == 1
    expected = {"Silent.heard", "asked-for", "child-of-silent", "borrower"}
    until(lambda: _names(expected) == expected)
    assert _names({"Silent.__init__", "Silent.plain", "Silent.call"}) == set()


def test_one_method_that_is_not_listed(cluster, until):
    actor = Heard.remote()
    assert ray.get([actor.silent.remote(), actor.plain.remote()]) == [1, 1]
    until(lambda: _names({"Heard.__init__", "Heard.plain"}) == {"Heard.__init__", "Heard.plain"})
    assert _names({"Heard.silent"}) == set()


def test_exceptions_to_retry_that_a_worker_cannot_load(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_the_driver_has_it.py").write_text("class Theirs(Exception):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from only_the_driver_has_it import Theirs

    (tmp_path / "only_the_driver_has_it.py").unlink()

    @ray.remote(num_cpus=0, max_retries=3, retry_exceptions=[Theirs])
    def fails():
        raise ValueError("as it is")

    try:
        ray.get(fails.remote(), timeout=30)
    except ValueError as error:
        assert "as it is" in str(error)
    else:
        raise AssertionError("nothing was raised")
