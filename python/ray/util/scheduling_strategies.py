"""Ways to say where a task or an actor may run."""

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

#: Length of a node id in hexadecimal digits.
_NODE_ID_DIGITS = 56


class PlacementGroupSchedulingStrategy:
    """Runs inside a placement group.

    Args:
        placement_group: the group.
        placement_group_bundle_index: the bundle, counted from 0; -1 for any.
        placement_group_capture_child_tasks: whether tasks that this one submits
            without a strategy of their own run in the group, too. None takes
            what the parent has.
    """

    def __init__(
        self,
        placement_group: "PlacementGroup",
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: Optional[bool] = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """Runs on one node.

    Args:
        node_id: id of the node as 56 hexadecimal digits, see ``ray.nodes()``.
        soft: whether it may run elsewhere when that node is gone. Otherwise a
            task fails with TaskUnschedulableError, an actor with
            ActorUnschedulableError.

    Raises:
        ValueError: node_id is no node id.
    """

    def __init__(
        self,
        node_id: str,
        soft: bool,
        _spill_on_unavailable: bool = False,
        _fail_on_unavailable: bool = False,
    ) -> None:
        if not isinstance(node_id, str):
            node_id = node_id.hex()
        if len(node_id) != _NODE_ID_DIGITS or not _is_hex(node_id):
            raise ValueError(
                f"Invalid node_id {node_id!r}. Node ID must be a valid hex string of {_NODE_ID_DIGITS} digits; "
                "ray.nodes() lists those of the cluster."
            )
        if _spill_on_unavailable and not soft:
            raise ValueError("_spill_on_unavailable cannot be set when soft is False.")
        if _fail_on_unavailable and soft:
            raise ValueError("_fail_on_unavailable cannot be set when soft is True.")
        self.node_id = node_id
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdefABCDEF" for char in text)


def _values(values: Any, operator: str) -> List[str]:
    """The values of In and NotIn, checked."""
    if not values:
        raise ValueError(
            f"The variadic parameter of the {operator} operator must be a non-empty tuple: "
            f'e.g. {operator}("value1", "value2").'
        )
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(
                f"Type of value in position {index} for the {operator} operator must be str "
                f'(e.g. {operator}("value1", "value2")) but got {value} of type {type(value)}.'
            )
    return list(values)


class In:
    """The label has one of the values."""

    def __init__(self, *values: str) -> None:
        self.values = _values(values, "In")

    def _selector(self) -> str:
        return f"in({','.join(self.values)})"


class NotIn:
    """The label has none of the values, or the node has no such label."""

    def __init__(self, *values: str) -> None:
        self.values = _values(values, "NotIn")

    def _selector(self) -> str:
        return f"!in({','.join(self.values)})"


class Exists:
    """The node has the label."""

    def _selector(self) -> str:
        return "exists()"


class DoesNotExist:
    """The node does not have the label."""

    def _selector(self) -> str:
        return "!exists()"


Operator = Union[In, NotIn, Exists, DoesNotExist]


class _LabelMatchExpression:
    """One label and what is asked of it."""

    def __init__(self, key: str, operator: Operator) -> None:
        self.key = key
        self.operator = operator


class NodeLabelSchedulingStrategy:
    """Runs on nodes with certain labels.

    Args:
        hard: label to ``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``; all must hold.
        soft: the same, preferred among the nodes that fulfil ``hard``.

    Raises:
        ValueError: both are empty, or an entry is malformed.
    """

    def __init__(self, hard: Dict[str, Operator], *, soft: Optional[Dict[str, Operator]] = None) -> None:
        self.hard = _expressions(hard, "hard")
        self.soft = _expressions(soft, "soft")
        if not self.hard and not self.soft:
            raise ValueError("The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be empty.")

    def _selectors(self) -> "tuple[Dict[str, str], Dict[str, str]]":
        """(hard, soft) as label to selector text."""
        return tuple(  # type: ignore[return-value]
            {item.key: item.operator._selector() for item in items} for items in (self.hard, self.soft)
        )


def _expressions(given: Optional[Dict[str, Operator]], name: str) -> List[_LabelMatchExpression]:
    example = '(e.g. {"key1": In("value1")})'
    if given is None:
        return []
    if not isinstance(given, dict):
        raise ValueError(f"The {name} parameter must be a map {example} but got type {type(given)}.")
    found = []
    for key, operator in given.items():
        if not isinstance(key, str):
            raise ValueError(
                f"The map key of the {name} parameter must be of type str {example} but got {key} of type {type(key)}."
            )
        if not isinstance(operator, (In, NotIn, Exists, DoesNotExist)):
            raise ValueError(
                f"The map value for key {key} of the {name} parameter must be one of the `In`, `NotIn`, `Exists` or "
                f"`DoesNotExist` operator {example} but got {operator} of type {type(operator)}."
            )
        found.append(_LabelMatchExpression(key, operator))
    return found


SchedulingStrategyT = Union[
    None,
    str,  # "DEFAULT" or "SPREAD"
    PlacementGroupSchedulingStrategy,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
]
