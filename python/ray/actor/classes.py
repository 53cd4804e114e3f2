"""Actor classes: what ``@ray.remote`` makes of a class."""

import hashlib
import inspect
from typing import Any, Dict, List, Optional, TypeVar

from ray import _options
from ray._core import inspection, serialization
from ray._core.signature import Signature
from ray._core.typed import Of
from ray.actor.creation import create
from ray.actor.descriptions import HIDDEN_METHODS, METHOD_ATTRIBUTE, MethodInfo
from ray.actor.handles import ActorHandle
from ray.remote_function import INVOCATION_DECORATOR, _check_size

T = TypeVar("T")


class ActorClassInheritanceException(TypeError):
    """A class was derived from a class that is an actor class already."""


class ActorClass(Of[T]):
    """A class whose ``.remote()`` makes an actor. Made by ``@ray.remote``."""

    def __new__(cls, *args: Any) -> Any:
        # class B(A), where A is an ActorClass, arrives here as ActorClass("B", (A,), {...}).
        if len(args) == 3 and isinstance(args[0], str) and isinstance(args[1], tuple):
            base = next((item for item in args[1] if isinstance(item, ActorClass)), None)
            raise ActorClassInheritanceException(
                f"Attempted to define subclass '{args[0]}' of actor class "
                f"'{base._class.__name__ if base is not None else ''}'. Inheriting from actor classes is not currently "
                "supported. You can instead inherit from a non-actor base class and make the derived "
                "class an actor class "
                "(with @ray.remote)."
            )
        return super().__new__(cls)

    def __init__(self, cls: type, options: Dict[str, Any]) -> None:
        self._class = cls
        self._default_options = options
        self._class_name = cls.__qualname__
        self._short_name = cls.__name__
        self.__ray_metadata__ = _Metadata(cls)
        self.__name__ = cls.__name__
        self.__qualname__ = cls.__qualname__
        self.__module__ = cls.__module__
        self.__doc__ = cls.__doc__
        self._methods: Optional[Dict[str, MethodInfo]] = None
        self._init_signature: Optional[Signature] = None
        self._code: Any = None

    def __getstate__(self) -> Dict[str, Any]:
        fields = dict(self.__dict__)
        for name in ("_methods", "_init_signature", "_code"):
            fields[name] = None
        return fields

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"Actors cannot be instantiated directly. Instead of '{self._class_name}()', "
            f"use '{self._class_name}.remote()'."
        )

    def __repr__(self) -> str:
        return f"ActorClass({self._short_name})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_class":
            raise AttributeError(name)
        # Class attributes and static methods can be used without an actor.
        try:
            found = getattr(self._class, name)
        except AttributeError:
            raise AttributeError(f"actor class {self._short_name!r} has no attribute {name!r}") from None
        return found

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Creates an actor; returns its handle at once."""
        return create(self, args, kwargs, self._default_options)

    def _remote(self, args: Any = None, kwargs: Optional[Dict[str, Any]] = None, **options: Any) -> ActorHandle:
        """As ``options(**options).remote(*args, **kwargs)``, in one call."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def options(self, **options: Any) -> "ActorOptions[T]":
        """This class with some options replaced, for ``.remote()`` on what is returned."""
        _options.check_actor(options, in_options=True)
        return ActorOptions(self, _options.merged(self._default_options, options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a task graph."""
        from ray.dag import ClassNode

        return ClassNode(self._class, args, kwargs, self._default_options)

    def _method_infos(self) -> Dict[str, MethodInfo]:
        if self._methods is None:
            methods: Dict[str, MethodInfo] = {}
            for name, function in inspect.getmembers(self._class, _is_function):
                static = isinstance(inspect.getattr_static(self._class, name, None), (staticmethod, classmethod))
                options = dict(getattr(function, METHOD_ATTRIBUTE, {}))
                decorator = getattr(function, INVOCATION_DECORATOR, None)
                if decorator is not None:
                    options[INVOCATION_DECORATOR] = decorator
                plain = inspect.unwrap(function)
                generator = inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)
                methods[name] = MethodInfo(name, Signature.of(function, not static), options, generator)
            for name in HIDDEN_METHODS:
                methods[name] = MethodInfo(name, Signature(None), {}, False)
            self._methods = methods
        return self._methods

    def __dir__(self) -> List[str]:
        names = [name for name, _ in inspect.getmembers(self._class, _is_function) if not name.startswith("_")]
        return sorted({*super().__dir__(), *names})

    def _is_async(self) -> bool:
        return any(
            inspect.iscoroutinefunction(inspect.unwrap(function))
            or inspect.isasyncgenfunction(inspect.unwrap(function))
            for name, function in inspect.getmembers(self._class, _is_function)
            if not (name.startswith("__") and name.endswith("__")) or name == "__call__"
        )

    def _pickled(self, client: Any) -> Any:
        if self._code is None or self._code[3] is not client:
            try:
                code, held = serialization.code_blob(self._class)
            except TypeError as error:
                what = f"Could not serialize the actor class {self.__module__}.{self._class.__qualname__}.__init__"
                raise inspection.explained(what, self._class, error) from error
            _check_size(len(code), self._class.__name__, "actor")
            self._code = (hashlib.sha224(code).digest(), code, held, client)
        return self._code[:3]


class ActorOptions(Of[T]):
    """An actor class with options for one creation."""

    def __init__(self, actor_class: ActorClass[T], options: Dict[str, Any]) -> None:
        self._actor_class = actor_class
        self._options = options

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """As :meth:`ActorClass.remote`."""
        return create(self._actor_class, args, kwargs, self._options)

    def options(self, **options: Any) -> "ActorOptions[T]":
        """With some options replaced."""
        _options.check_actor(options, in_options=True)
        return ActorOptions(self._actor_class, _options.merged(self._options, options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a task graph."""
        from ray.dag import ClassNode

        return ClassNode(self._actor_class._class, args, kwargs, self._options)


class _Metadata:
    """Facts about an actor class under the name that other libraries look for."""

    def __init__(self, cls: type) -> None:
        self.modified_class = cls
        self.class_name = cls.__qualname__


def _is_function(value: Any) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value) or inspect.isbuiltin(value)
