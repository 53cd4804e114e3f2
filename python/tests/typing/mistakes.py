"""What type checkers must refuse: each line marked so is one error, and no other line is."""

import ray
from ray import ObjectRef


@ray.remote
def number(a: int) -> str:
    return str(a)


@ray.remote
def two(a: str, b: int) -> str:
    return a * b


class Plain:
    @ray.method
    def add(self, n: int) -> int:
        return n


ref = number.remote(1)
two.remote(1, 1)  # wrong
number.remote("a")  # wrong
number.remote(1, 1)  # wrong
number.remote(ref)  # wrong
ray.get(ref) + 100  # wrong
number.remote(1) + 1  # wrong
other: ObjectRef[int] = number.remote(1)  # wrong
value: int = ray.get(number.remote(1))  # wrong
ray.get([ref])[0].bit_length()  # wrong
ray.get(1)  # wrong
ray.wait(ref)  # wrong
Plain.add.remote("a")  # wrong
