"""The nodes of a call graph. They are built and looked at; running one is not supported yet."""

import uuid
from typing import Any, Dict, List, Optional, Tuple


class DAGNode:
    """A call with its arguments, some of which may be nodes.

    Args:
        args, kwargs: arguments of the call.
        options: options of the task or actor.
    """

    def __init__(self, args: Tuple[Any, ...], kwargs: Dict[str, Any], options: Optional[Dict[str, Any]] = None) -> None:
        self._bound_args = tuple(args)
        self._bound_kwargs = dict(kwargs)
        self._bound_options = dict(options or {})
        self._stable_uuid = uuid.uuid4().hex

    def get_args(self) -> Tuple[Any, ...]:
        """Positional arguments."""
        return self._bound_args

    def get_kwargs(self) -> Dict[str, Any]:
        """Keyword arguments."""
        return dict(self._bound_kwargs)

    def get_options(self) -> Dict[str, Any]:
        """Options of the task or actor."""
        return dict(self._bound_options)

    def get_stable_uuid(self) -> str:
        """Name of the node."""
        return self._stable_uuid

    def _get_all_child_nodes(self) -> List["DAGNode"]:
        values = list(self._bound_args) + list(self._bound_kwargs.values())
        return [value for value in values if isinstance(value, DAGNode)]

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Always raises."""
        raise NotImplementedError(
            f"not supported yet: executing a {type(self).__name__}; call .remote() with refs as arguments instead"
        )

    def experimental_compile(self, *args: Any, **kwargs: Any) -> Any:
        """Always raises."""
        raise NotImplementedError("not supported yet: compiled graphs; call .remote() instead")

    def __reduce__(self) -> Any:
        raise ValueError(f"{type(self).__name__} cannot be pickled: a graph is not a value")


class FunctionNode(DAGNode):
    """A call of a remote function."""

    def __init__(self, function: Any, args: Any, kwargs: Any, options: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(args, kwargs, options)
        self._body = function


class ClassNode(DAGNode):
    """The creation of an actor; its methods give nodes by ``node.method.bind(...)``."""

    def __init__(self, cls: Any, args: Any, kwargs: Any, options: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(args, kwargs, options)
        self._body = cls

    def __getattr__(self, name: str) -> "_UnboundMethod":
        if name.startswith("_"):
            raise AttributeError(name)
        if not hasattr(self._body, name):
            raise AttributeError(f"{getattr(self._body, '__name__', self._body)!r} has no method {name!r}")
        return _UnboundMethod(self, name, {})


class _UnboundMethod:
    """A method of a :class:`ClassNode`, before its arguments."""

    def __init__(self, actor: Any, name: str, options: Dict[str, Any]) -> None:
        self._actor = actor
        self._name = name
        self._options = options

    def options(self, **options: Any) -> "_UnboundMethod":
        """The same method with other options."""
        return _UnboundMethod(self._actor, self._name, options)

    def bind(self, *args: Any, **kwargs: Any) -> "ClassMethodNode":
        """A node for the call."""
        return ClassMethodNode(self._actor, self._name, args, kwargs, self._options)


class ClassMethodNode(DAGNode):
    """A call of an actor's method; the actor is a handle or a :class:`ClassNode`."""

    def __init__(self, actor: Any, method_name: str, args: Any, kwargs: Any, options: Any = None) -> None:
        super().__init__(args, kwargs, options)
        self._method_name = method_name
        self._actor = actor

    def get_method_name(self) -> str:
        """Name of the method."""
        return self._method_name


class InputNode(DAGNode):
    """Stands for what ``execute`` will be given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(args, kwargs)

    def __enter__(self) -> "InputNode":
        return self

    def __exit__(self, *exc: Any) -> None:
        return None

    def __getitem__(self, key: Any) -> "InputAttributeNode":
        return InputAttributeNode(self, key)

    def __getattr__(self, name: str) -> "InputAttributeNode":
        if name.startswith("_"):
            raise AttributeError(name)
        return InputAttributeNode(self, name)


class InputAttributeNode(DAGNode):
    """Stands for a part of the input."""

    def __init__(self, dag_input: InputNode, key: Any) -> None:
        super().__init__((dag_input, key), {})


class MultiOutputNode(DAGNode):
    """Several nodes as one result."""

    def __init__(self, args: Any) -> None:
        super().__init__(tuple(args), {})
