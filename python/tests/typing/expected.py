"""What type checkers must see: checked by mypy and pyright, never run."""

import asyncio
from typing import Any, AsyncIterator, Iterator, List, Tuple

import ray
from ray import ObjectRef, ObjectRefGenerator
from ray.actor import ActorClass, ActorHandle, ActorProxy
from typing_extensions import assert_type


@ray.remote
def one() -> int:
    return 1


@ray.remote
def text(a: int, b: str = "x") -> str:
    return b * a


@ray.remote(num_cpus=2, max_retries=0)
def with_options(a: int) -> List[int]:
    return [a]


@ray.remote(num_returns=2)
def pair() -> Tuple[int, str]:
    return 1, "a"


@ray.remote
def items(n: int) -> Iterator[int]:
    yield from range(n)


@ray.remote(num_returns="streaming")
def streamed():
    yield 1


@ray.remote
def only_keywords(*, a: int) -> int:
    return a


@ray.remote
def untyped(a, b):
    return a + b


def plain(a: int) -> int:
    return a


ref: ObjectRef[int] = one.remote()
assert_type(ref, ObjectRef[int])
assert_type(ray.get(ref), int)
assert_type(ray.get(ref, timeout=1), int)
assert_type(ray.get([ref, one.remote()]), List[int])
assert_type(ray.get([ref, text.remote(1)]), List[Any])
assert_type(text.remote(1), ObjectRef[str])
assert_type(text.remote(ref, "b"), ObjectRef[str])
assert_type(text.remote(1, b="b"), ObjectRef[str])
assert_type(text.options(num_cpus=1, name="n").remote(1), ObjectRef[str])
assert_type(with_options.remote(1), ObjectRef[List[int]])
assert_type(only_keywords.remote(a=1), ObjectRef[int])
assert_type(ray.remote(plain).remote(1), ObjectRef[int])
assert_type(ray.remote(num_cpus=1)(plain).remote(1), ObjectRef[int])
assert_type(pair.remote(), List[ObjectRef[Any]])
first, second = one.options(num_returns=2).remote()
assert_type(first, ObjectRef[Any])
assert_type(items.remote(3), ObjectRefGenerator[int])
for item in items.remote(3):
    assert_type(item, ObjectRef[int])
    assert_type(ray.get(item), int)
for anything in streamed.remote():
    print(anything)
print(ray.get(untyped.remote(1, 2)) + 1)

assert_type(ray.put("a"), ObjectRef[str])
ready, rest = ray.wait([ref], num_returns=1, timeout=0)
assert_type(ready, List[ObjectRef[int]])
assert_type(rest, List[ObjectRef[int]])
mixed, _ = ray.wait([ref, text.remote(1)])
print(ray.get(mixed))
assert_type(ref.future().result(), int)
ray.cancel(ref, force=True)


async def awaits() -> None:
    assert_type(await ref, int)
    both = await asyncio.gather(ref.as_future(), text.remote(1).as_future())
    assert_type(both, Tuple[int, str])
    async for item in items.remote(2):
        assert_type(await item, int)


class Plain:
    @ray.method
    def get(self) -> int:
        return 1

    @ray.method(max_task_retries=1)
    async def name(self, prefix: str, n: int = 1) -> str:
        return prefix * n

    @ray.method(num_returns=2)
    def both(self) -> Tuple[int, int]:
        return 1, 2

    @ray.method
    async def stream(self) -> AsyncIterator[int]:
        yield 1


Typed = ray.remote(Plain)
assert_type(Typed, ActorClass[Plain])
assert_type(Typed.remote(), ActorHandle[Plain])
assert_type(Typed.options(num_gpus=1).remote(), ActorHandle[Plain])

actor = Typed.remote()
total: ObjectRef[int] = actor.get.remote()
total = actor.get.options(name="a").remote(total)
named: ActorHandle[Any] = ray.get_actor("c")
ray.kill(named)


def use(proxy: ActorProxy[Plain], declared: type[Plain]) -> None:
    number: ObjectRef[int] = proxy.get.remote()
    print(number)
    assert_type(declared.get.remote(), ObjectRef[int])
    assert_type(declared.name.remote("a"), ObjectRef[str])
    assert_type(declared.name.remote("a", number), ObjectRef[str])
    assert_type(declared.both.remote(), List[ObjectRef[Any]])
    assert_type(declared.stream.remote(), ObjectRefGenerator[int])
