"""Actor classes made by a decorator: for pyright, as mypy does not look at decorators of classes."""

from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle


@ray.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.n = start

    def add(self, n: int) -> int:
        self.n += n
        return self.n

    @ray.method
    def get(self) -> int:
        return self.n

    @ray.method(max_task_retries=1)
    async def name(self, prefix: str, n: int = 1) -> str:
        return prefix * n


counter = Counter.remote(1)
total: ObjectRef[int] = counter.add.remote(1)
total = counter.add.options(name="a").remote(total)
other = Counter.options(num_cpus=1, name="c").remote()
total = other.get.remote()
named: ActorHandle[Any] = ray.get_actor("c")
ray.kill(named)
