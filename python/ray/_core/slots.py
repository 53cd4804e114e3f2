"""What stands for a top-level reference inside pickled arguments."""


class Slot(int):
    """The place of a dependency in the list of a task's dependencies.

    It pickles as a call of this module's ``Slot``, so that any process that
    has the package can read arguments, and nobody else needs to.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple:
        return Slot, (int(self),)
