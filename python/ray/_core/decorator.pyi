"""What type checkers see of ``ray.remote`` and ``ray.method``; decorator.py has what runs.

A remote function takes each positional argument as a value or as a reference
to one, so its parameters are listed one by one. Keyword arguments, and
functions with more parameters than are listed here, are not checked.
"""

# Overloads are tried in order, from the most to the least that is known of a function: they overlap on purpose.
# mypy: disable-error-code="overload-overlap,overload-cannot-match"

from typing import (
    Any,
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Generic,
    Iterator,
    List,
    Literal,
    NoReturn,
    Optional,
    Protocol,
    Type,
    TypeVar,
    Union,
    overload,
)

from ray._core.generators import ObjectRefGenerator
from ray._core.refs import ObjectRef
from ray.actor import ActorClass

R = TypeVar("R")
S = TypeVar("S")
C = TypeVar("C")
T0 = TypeVar("T0")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")
T7 = TypeVar("T7")
T8 = TypeVar("T8")

class _Options:
    """``options()``: the same function, unless the shape of its result changes."""

    @overload
    def options(self: S, *, num_returns: Optional[Literal[1]] = ..., **options: Any) -> S: ...
    @overload
    def options(self, *, num_returns: int, **options: Any) -> Several: ...
    @overload
    def options(self, *, num_returns: str, **options: Any) -> Unchecked: ...

class _Function(_Options):
    """What every remote function has besides ``remote``."""

    def bind(self, *args: Any, **kwargs: Any) -> Any: ...
    def _remote(self, args: Any = ..., kwargs: Any = ..., **options: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...

class Unchecked(_Function):
    """A function or method about whose calls nothing is known."""

    def remote(self, *args: Any, **kwargs: Any) -> Any: ...

class Several(_Function):
    """One with num_returns above 1."""

    def remote(self, *args: Any, **kwargs: Any) -> List[ObjectRef[Any]]: ...

class Streaming(_Function, Generic[R]):
    """A generator."""

    def remote(self, *args: Any, **kwargs: Any) -> ObjectRefGenerator[R]: ...

class Plain(_Function, Generic[R]):
    """One whose parameters are not known."""

    def remote(self, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...

class Plain0(_Function, Generic[R]):
    def remote(self, **kwargs: Any) -> ObjectRef[R]: ...

class Plain1(_Function, Generic[R, T0]):
    def remote(self, __a0: Union[T0, ObjectRef[T0]] = ..., **kwargs: Any) -> ObjectRef[R]: ...

class Plain2(_Function, Generic[R, T0, T1]):
    def remote(
        self, __a0: Union[T0, ObjectRef[T0]] = ..., __a1: Union[T1, ObjectRef[T1]] = ..., **kwargs: Any
    ) -> ObjectRef[R]: ...

class Plain3(_Function, Generic[R, T0, T1, T2]):
    def remote(
        self,
        __a0: Union[T0, ObjectRef[T0]] = ...,
        __a1: Union[T1, ObjectRef[T1]] = ...,
        __a2: Union[T2, ObjectRef[T2]] = ...,
        **kwargs: Any,
    ) -> ObjectRef[R]: ...

class Plain4(_Function, Generic[R, T0, T1, T2, T3]):
    def remote(
        self,
        __a0: Union[T0, ObjectRef[T0]] = ...,
        __a1: Union[T1, ObjectRef[T1]] = ...,
        __a2: Union[T2, ObjectRef[T2]] = ...,
        __a3: Union[T3, ObjectRef[T3]] = ...,
        **kwargs: Any,
    ) -> ObjectRef[R]: ...

class Plain5(_Function, Generic[R, T0, T1, T2, T3, T4]):
    def remote(
        self,
        __a0: Union[T0, ObjectRef[T0]] = ...,
        __a1: Union[T1, ObjectRef[T1]] = ...,
        __a2: Union[T2, ObjectRef[T2]] = ...,
        __a3: Union[T3, ObjectRef[T3]] = ...,
        __a4: Union[T4, ObjectRef[T4]] = ...,
        **kwargs: Any,
    ) -> ObjectRef[R]: ...

class Plain6(_Function, Generic[R, T0, T1, T2, T3, T4, T5]):
    def remote(
        self,
        __a0: Union[T0, ObjectRef[T0]] = ...,
        __a1: Union[T1, ObjectRef[T1]] = ...,
        __a2: Union[T2, ObjectRef[T2]] = ...,
        __a3: Union[T3, ObjectRef[T3]] = ...,
        __a4: Union[T4, ObjectRef[T4]] = ...,
        __a5: Union[T5, ObjectRef[T5]] = ...,
        **kwargs: Any,
    ) -> ObjectRef[R]: ...

class Plain7(_Function, Generic[R, T0, T1, T2, T3, T4, T5, T6]):
    def remote(
        self,
        __a0: Union[T0, ObjectRef[T0]] = ...,
        __a1: Union[T1, ObjectRef[T1]] = ...,
        __a2: Union[T2, ObjectRef[T2]] = ...,
        __a3: Union[T3, ObjectRef[T3]] = ...,
        __a4: Union[T4, ObjectRef[T4]] = ...,
        __a5: Union[T5, ObjectRef[T5]] = ...,
        __a6: Union[T6, ObjectRef[T6]] = ...,
        **kwargs: Any,
    ) -> ObjectRef[R]: ...

class Plain8(_Function, Generic[R, T0, T1, T2, T3, T4, T5, T6, T7]):
    def remote(
        self,
        __a0: Union[T0, ObjectRef[T0]] = ...,
        __a1: Union[T1, ObjectRef[T1]] = ...,
        __a2: Union[T2, ObjectRef[T2]] = ...,
        __a3: Union[T3, ObjectRef[T3]] = ...,
        __a4: Union[T4, ObjectRef[T4]] = ...,
        __a5: Union[T5, ObjectRef[T5]] = ...,
        __a6: Union[T6, ObjectRef[T6]] = ...,
        __a7: Union[T7, ObjectRef[T7]] = ...,
        **kwargs: Any,
    ) -> ObjectRef[R]: ...

class Plain9(_Function, Generic[R, T0, T1, T2, T3, T4, T5, T6, T7, T8]):
    def remote(
        self,
        __a0: Union[T0, ObjectRef[T0]] = ...,
        __a1: Union[T1, ObjectRef[T1]] = ...,
        __a2: Union[T2, ObjectRef[T2]] = ...,
        __a3: Union[T3, ObjectRef[T3]] = ...,
        __a4: Union[T4, ObjectRef[T4]] = ...,
        __a5: Union[T5, ObjectRef[T5]] = ...,
        __a6: Union[T6, ObjectRef[T6]] = ...,
        __a7: Union[T7, ObjectRef[T7]] = ...,
        __a8: Union[T8, ObjectRef[T8]] = ...,
        **kwargs: Any,
    ) -> ObjectRef[R]: ...

class Remote(Protocol):
    """``ray.remote``, and what it gives when it is called with options."""

    @overload
    def __call__(self, __class: Type[C]) -> ActorClass[C]: ...
    @overload
    def __call__(self, __function: Callable[..., NoReturn]) -> Unchecked: ...  # its result has no annotation
    @overload
    def __call__(self, __function: Callable[..., Generator[R, Any, Any]]) -> Streaming[R]: ...
    @overload
    def __call__(self, __function: Callable[..., Iterator[R]]) -> Streaming[R]: ...
    @overload
    def __call__(self, __function: Callable[..., AsyncGenerator[R, Any]]) -> Streaming[R]: ...
    @overload
    def __call__(self, __function: Callable[..., AsyncIterator[R]]) -> Streaming[R]: ...
    @overload
    def __call__(
        self, __function: Callable[[T0, T1, T2, T3, T4, T5, T6, T7, T8], R]
    ) -> Plain9[R, T0, T1, T2, T3, T4, T5, T6, T7, T8]: ...
    @overload
    def __call__(
        self, __function: Callable[[T0, T1, T2, T3, T4, T5, T6, T7], R]
    ) -> Plain8[R, T0, T1, T2, T3, T4, T5, T6, T7]: ...
    @overload
    def __call__(
        self, __function: Callable[[T0, T1, T2, T3, T4, T5, T6], R]
    ) -> Plain7[R, T0, T1, T2, T3, T4, T5, T6]: ...
    @overload
    def __call__(self, __function: Callable[[T0, T1, T2, T3, T4, T5], R]) -> Plain6[R, T0, T1, T2, T3, T4, T5]: ...
    @overload
    def __call__(self, __function: Callable[[T0, T1, T2, T3, T4], R]) -> Plain5[R, T0, T1, T2, T3, T4]: ...
    @overload
    def __call__(self, __function: Callable[[T0, T1, T2, T3], R]) -> Plain4[R, T0, T1, T2, T3]: ...
    @overload
    def __call__(self, __function: Callable[[T0, T1, T2], R]) -> Plain3[R, T0, T1, T2]: ...
    @overload
    def __call__(self, __function: Callable[[T0, T1], R]) -> Plain2[R, T0, T1]: ...
    @overload
    def __call__(self, __function: Callable[[T0], R]) -> Plain1[R, T0]: ...
    @overload
    def __call__(self, __function: Callable[[], R]) -> Plain0[R]: ...
    @overload
    def __call__(self, __function: Callable[..., R]) -> Plain[R]: ...
    @overload
    def __call__(self, *, num_returns: Optional[Literal[1]] = ..., **options: Any) -> Remote: ...
    @overload
    def __call__(self, *, num_returns: int, **options: Any) -> RemoteSeveral: ...
    @overload
    def __call__(self, *, num_returns: str, **options: Any) -> RemoteUnchecked: ...

class RemoteSeveral(Protocol):
    def __call__(self, __function: Callable[..., Any]) -> Several: ...

class RemoteUnchecked(Protocol):
    def __call__(self, __function: Callable[..., Any]) -> Unchecked: ...

class Method(Protocol):
    """``ray.method``, and what it gives when it is called with options."""

    @overload
    def __call__(self, __method: Callable[..., NoReturn]) -> Unchecked: ...
    @overload
    def __call__(self, __method: Callable[..., Generator[R, Any, Any]]) -> Streaming[R]: ...
    @overload
    def __call__(self, __method: Callable[..., Iterator[R]]) -> Streaming[R]: ...
    @overload
    def __call__(self, __method: Callable[..., AsyncGenerator[R, Any]]) -> Streaming[R]: ...
    @overload
    def __call__(self, __method: Callable[..., AsyncIterator[R]]) -> Streaming[R]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5, T6, T7, T8], Coroutine[Any, Any, R]]
    ) -> Plain9[R, T0, T1, T2, T3, T4, T5, T6, T7, T8]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5, T6, T7, T8], R]
    ) -> Plain9[R, T0, T1, T2, T3, T4, T5, T6, T7, T8]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5, T6, T7], Coroutine[Any, Any, R]]
    ) -> Plain8[R, T0, T1, T2, T3, T4, T5, T6, T7]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5, T6, T7], R]
    ) -> Plain8[R, T0, T1, T2, T3, T4, T5, T6, T7]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5, T6], Coroutine[Any, Any, R]]
    ) -> Plain7[R, T0, T1, T2, T3, T4, T5, T6]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5, T6], R]
    ) -> Plain7[R, T0, T1, T2, T3, T4, T5, T6]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5], Coroutine[Any, Any, R]]
    ) -> Plain6[R, T0, T1, T2, T3, T4, T5]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0, T1, T2, T3, T4, T5], R]) -> Plain6[R, T0, T1, T2, T3, T4, T5]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3, T4], Coroutine[Any, Any, R]]
    ) -> Plain5[R, T0, T1, T2, T3, T4]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0, T1, T2, T3, T4], R]) -> Plain5[R, T0, T1, T2, T3, T4]: ...
    @overload
    def __call__(
        self, __method: Callable[[Any, T0, T1, T2, T3], Coroutine[Any, Any, R]]
    ) -> Plain4[R, T0, T1, T2, T3]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0, T1, T2, T3], R]) -> Plain4[R, T0, T1, T2, T3]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0, T1, T2], Coroutine[Any, Any, R]]) -> Plain3[R, T0, T1, T2]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0, T1, T2], R]) -> Plain3[R, T0, T1, T2]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0, T1], Coroutine[Any, Any, R]]) -> Plain2[R, T0, T1]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0, T1], R]) -> Plain2[R, T0, T1]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0], Coroutine[Any, Any, R]]) -> Plain1[R, T0]: ...
    @overload
    def __call__(self, __method: Callable[[Any, T0], R]) -> Plain1[R, T0]: ...
    @overload
    def __call__(self, __method: Callable[[Any], Coroutine[Any, Any, R]]) -> Plain0[R]: ...
    @overload
    def __call__(self, __method: Callable[[Any], R]) -> Plain0[R]: ...
    @overload
    def __call__(self, __method: Callable[..., Coroutine[Any, Any, R]]) -> Plain[R]: ...
    @overload
    def __call__(self, __method: Callable[..., R]) -> Plain[R]: ...
    @overload
    def __call__(self, *, num_returns: Optional[Literal[1]] = ..., **options: Any) -> Method: ...
    @overload
    def __call__(self, *, num_returns: int, **options: Any) -> RemoteSeveral: ...
    @overload
    def __call__(self, *, num_returns: str, **options: Any) -> RemoteUnchecked: ...

remote: Remote
method: Method
