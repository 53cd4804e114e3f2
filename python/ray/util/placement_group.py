"""Placement groups: resources reserved together, as bundles."""

from typing import Any, Dict, List, Optional, Union

from ray._core import frames, state
from ray._core.ids import PlacementGroupID

Bundle = Dict[str, float]

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
VALID_PLACEMENT_GROUP_STRATEGIES = set(STRATEGIES)
#: Key of a topology strategy that says how bundles spread over nodes.
NODE_TOPOLOGY = "ray.io/node-id"


class PlacementGroup:
    """A handle to a placement group; may be passed to tasks and actors.

    Made by :func:`placement_group`.
    """

    @staticmethod
    def empty() -> "PlacementGroup":
        """The group that stands for none."""
        return PlacementGroup(PlacementGroupID.nil(), [])

    def __init__(self, id: PlacementGroupID, bundle_cache: Optional[List[Bundle]] = None) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @property
    def is_empty(self) -> bool:
        """Whether this stands for no group."""
        return self.id.is_nil()

    def ready(self) -> Any:
        """An object ref that resolves to this group once all bundles are reserved.

        Example:
            >>> ray.get(placement_group([{"CPU": 1}]).ready())  # doctest: +SKIP
        """
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return (
            ray.remote(_itself)
            .options(
                num_cpus=0,
                name="PlacementGroup.ready",
                scheduling_strategy=PlacementGroupSchedulingStrategy(self, -1, False),
            )
            .remote(self)
        )

    def wait(self, timeout_seconds: Union[float, int] = 30) -> bool:
        """Waits until all bundles are reserved.

        Args:
            timeout_seconds: most seconds to wait.

        Returns:
            Whether they are.
        """
        reply, _ = state.client().call("pg.wait", {"id": self.id.hex(), "timeout_s": float(timeout_seconds)})
        return bool(reply["ready"])

    @property
    def bundle_specs(self) -> List[Bundle]:
        """The bundles: resource name to amount."""
        if self.bundle_cache is None:
            self.bundle_cache = [_bundle(row) for row in _row(self.id.hex()).get("bundles") or []]
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """How many bundles it has."""
        return len(self.bundle_specs)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"


def _itself(group: PlacementGroup) -> PlacementGroup:
    """The task behind :meth:`PlacementGroup.ready`: it can only run inside the group."""
    return group


def _bundle(row: Dict[str, Any]) -> Bundle:
    return {name: float(amount) for name, amount in row.items()}


def _tell(method: str, params: Dict[str, Any]) -> None:
    """Tells the cluster what cannot fail; what this process sends or asks later comes after it."""
    client = state.client()
    client.check_alive()
    client.send(frames.call_frame(frames.NOTE, 0, method, params, b""))


def _row(group_id: str) -> Dict[str, Any]:
    """The table row of one group, {} if the cluster knows none."""
    rows, _ = state.client().call("pg.table", {"id": group_id})
    return rows[0] if rows else {}


def placement_group(
    bundles: List[Bundle],
    strategy: Optional[str] = None,
    name: str = "",
    lifetime: Optional[str] = None,
    _soft_target_node_id: Optional[str] = None,
    bundle_label_selector: Optional[List[Dict[str, str]]] = None,
    topology_strategy: Optional[Dict[str, str]] = None,
) -> PlacementGroup:
    """Reserves resources; returns at once, see :meth:`PlacementGroup.ready`.

    Args:
        bundles: each a map of resource name to amount; a bundle lies on one node.
        strategy: ``PACK`` (the default: few nodes), ``SPREAD`` (many nodes),
            ``STRICT_PACK`` (one node) or ``STRICT_SPREAD`` (a node each).
        name: name in this namespace, for :func:`get_placement_group`.
        lifetime: ``"detached"`` to outlive the job, else None.
        bundle_label_selector: for each bundle, labels that its node must have.
        topology_strategy: label of a topology level to strategy, instead of ``strategy``.

    Raises:
        ValueError: an argument cannot be.
    """
    client = state.client()
    validate_placement_group(
        bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy
    )
    group_id = PlacementGroupID(client.next_placement_group_id())
    # What is not there counts as zero, so zero amounts are left out.
    plain = [{key: float(amount) for key, amount in bundle.items() if amount} for bundle in bundles]
    row: Dict[str, Any] = {
        "placement_group_id": group_id.hex(),
        "name": name or "",
        "namespace": client.namespace,
        "creator_job_id": client.job_id.hex(),
        "strategy": strategy or (topology_strategy or {}).get(NODE_TOPOLOGY) or "PACK",
        "bundles": plain,
        "state": "PENDING",
    }
    if lifetime == "detached":
        row["is_detached"] = True
    if bundle_label_selector:
        row["bundle_label_selector"] = bundle_label_selector
    if _soft_target_node_id:
        row["soft_target_node_id"] = _soft_target_node_id
    if name or lifetime == "detached":
        client.call("pg.create", row)  # the name may be taken; and a detached group must outlive this process
    else:
        _tell("pg.create", row)
    return PlacementGroup(group_id, plain)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Gives the reservation back; what runs inside is killed. Returns before that is done.

    Raises:
        AssertionError: placement_group is None.
    """
    assert placement_group is not None
    if not placement_group.is_empty:
        _tell("pg.remove", {"id": placement_group.id.hex()})


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of this name in this namespace.

    Raises:
        ValueError: there is none.
    """
    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group")
    client = state.client()
    row, _ = client.call("pg.get", {"name": placement_group_name, "namespace": client.namespace})
    if not row:
        raise ValueError(f"Failed to look up placement group with name: {placement_group_name}")
    return PlacementGroup(
        PlacementGroupID.from_hex(row["placement_group_id"]), [_bundle(bundle) for bundle in row.get("bundles") or []]
    )


def placement_group_table(placement_group: Optional[PlacementGroup] = None) -> Dict[str, Any]:
    """State of one group, or of all as a map of group id to state.

    Returns:
        A dict with ``placement_group_id name bundles bundles_to_node_id
        strategy state stats``; bundles are numbered from 0, an unplaced one has
        the node id "". ``{}`` if the group is unknown.
    """
    client = state.client()
    if placement_group is not None:
        row = _row(placement_group.id.hex())
        return _table_entry(row) if row else {}
    rows, _ = client.call("pg.table", {})
    return {row["placement_group_id"]: _table_entry(row) for row in rows or []}


def _table_entry(row: Dict[str, Any]) -> Dict[str, Any]:
    bundles = [_bundle(bundle) for bundle in row.get("bundles") or []]
    nodes = list(row.get("bundle_nodes") or [])
    nodes += [""] * (len(bundles) - len(nodes))
    return {
        "placement_group_id": row["placement_group_id"],
        "name": row.get("name", ""),
        "bundles": dict(enumerate(bundles)),
        "bundles_to_node_id": {index: _node(node) for index, node in enumerate(nodes)},
        "strategy": row.get("strategy", "PACK"),
        "state": row.get("state", ""),
        "stats": _stats(row),
    }


def _node(node_id: Optional[str]) -> str:
    """A node id; "" where the bundle has no place."""
    if not node_id or set(node_id) <= {"0"} or set(node_id) <= {"f"}:
        return ""
    return node_id


_SCHEDULING_STATES = {
    "PENDING": "QUEUED",
    "PREPARED": "SCHEDULING_STARTED",
    "CREATED": "FINISHED",
    "REMOVED": "REMOVED",
    "RESCHEDULING": "QUEUED",
}


def _scheduling_state(row: Dict[str, Any]) -> str:
    if row.get("infeasible"):
        return "INFEASIBLE"
    said = _SCHEDULING_STATES.get(row.get("state", ""), "QUEUED")
    return "NO_RESOURCES" if said == "QUEUED" and row.get("reason") else said


def _stats(row: Dict[str, Any]) -> Dict[str, Any]:
    found: Dict[str, Any] = {
        "end_to_end_creation_latency_ms": float(row.get("creation_ms", 0)),
        "scheduling_latency_ms": float(row.get("creation_ms", 0)),
        # What has a reason to wait was tried, if only in thought.
        "scheduling_attempt": int(row.get("attempts", 0)) or int(bool(row.get("reason"))),
        "highest_retry_delay_ms": 0.0,
        "scheduling_state": _scheduling_state(row),
    }
    if row.get("reason"):
        found["reason"] = row["reason"]
    return found


def get_current_placement_group() -> Optional[PlacementGroup]:
    """The group in which the calling task or actor runs; None outside any."""
    from ray.runtime_context import get_runtime_context

    state.client()
    group_id = get_runtime_context().get_placement_group_id()
    return PlacementGroup(PlacementGroupID.from_hex(group_id)) if group_id else None


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """Checks the index of a bundle.

    Raises:
        ValueError: the group has no such bundle.
    """
    assert placement_group is not None
    if placement_group.is_empty:
        if bundle_index != -1:
            raise ValueError("If placement group is not set, the value of bundle index must be -1.")
    elif bundle_index >= placement_group.bundle_count or bundle_index < -1:
        raise ValueError(
            f"placement group bundle index {bundle_index} is invalid. "
            f"Valid placement group indexes: 0-{placement_group.bundle_count - 1}"
        )


def check_request_fits(placement_group: PlacementGroup, bundle_index: int, resources: Dict[str, float]) -> None:
    """Checks that a task or actor could ever run in a group.

    Args:
        placement_group: the group.
        bundle_index: the bundle, -1 for any.
        resources: what the task or actor asks for.

    Raises:
        ValueError: no bundle (or not that one) is as large.
    """
    bundles = placement_group.bundle_specs
    candidates = bundles if bundle_index == -1 else bundles[bundle_index : bundle_index + 1]
    if not any(all(bundle.get(name, 0) >= amount for name, amount in resources.items()) for bundle in candidates):
        raise ValueError(
            f"Cannot schedule a task or actor that needs {resources} in this placement group: "
            f"no bundle of {candidates} is as large."
        )


def validate_placement_group(
    bundles: List[Bundle],
    strategy: Optional[str] = None,
    lifetime: Optional[str] = None,
    _soft_target_node_id: Optional[str] = None,
    bundle_label_selector: Optional[List[Dict[str, str]]] = None,
    topology_strategy: Optional[Dict[str, str]] = None,
) -> None:
    """Checks the arguments of :func:`placement_group`.

    Raises:
        ValueError: one of them cannot be.
    """
    _validate_bundles(bundles)
    if strategy is not None and topology_strategy:
        raise ValueError(
            "`strategy` and `topology_strategy` cannot both be specified. "
            f"Say how bundles spread over nodes by `topology_strategy[{NODE_TOPOLOGY!r}]`."
        )
    chosen = strategy or "PACK"
    if chosen not in STRATEGIES:
        raise ValueError(
            f"Invalid placement group strategy {strategy}. Supported strategies are: {', '.join(STRATEGIES)}."
        )
    for level, value in (topology_strategy or {}).items():
        if level != NODE_TOPOLOGY or value not in STRATEGIES:
            raise ValueError(
                f"not supported yet: topology_strategy {{{level!r}: {value!r}}}; "
                f"the one level is {NODE_TOPOLOGY!r} with one of {', '.join(STRATEGIES)}"
            )
    if lifetime not in (None, "detached"):
        raise ValueError(f"Placement group `lifetime` argument must be either `None` or 'detached'. Got {lifetime}.")
    if _soft_target_node_id:
        if chosen != "STRICT_PACK":
            raise ValueError(f"_soft_target_node_id currently only works with STRICT_PACK but got {chosen}")
        try:
            bytes.fromhex(_soft_target_node_id)
        except ValueError:
            raise ValueError(f"_soft_target_node_id {_soft_target_node_id!r} is no node id in hex") from None
    if bundle_label_selector is not None:
        _validate_labels(bundles, bundle_label_selector)


def _validate_bundles(bundles: Any) -> None:
    if not isinstance(bundles, list):
        raise ValueError(f"Placement group bundles must be a list, got {type(bundles)}.")
    example = 'Bundles must be a non-empty list of resource dictionaries. For example: `[{"CPU": 1.0}, {"GPU": 1.0}]`.'
    if not bundles:
        raise ValueError(example + " Got empty list instead.")
    for bundle in bundles:
        if not isinstance(bundle, dict) or not all(
            isinstance(key, str) and isinstance(amount, (int, float)) and not isinstance(amount, bool)
            for key, amount in bundle.items()
        ):
            raise ValueError(f"{example} Got {bundle!r}.")
        if not bundle or all(amount == 0 for amount in bundle.values()):
            raise ValueError(
                f"Bundles cannot be an empty dictionary or resources with only 0 values. Bundles: {bundles}"
            )
        if "bundle" in bundle:
            raise ValueError(
                f"Bundles cannot ask for the resource 'bundle', which marks the bundles themselves. Bundles: {bundles}"
            )
        negative = [key for key, amount in bundle.items() if amount < 0]
        if negative:
            raise ValueError(f"Bundles cannot ask for a negative amount of {negative[0]}. Bundles: {bundles}")


def _validate_labels(bundles: List[Bundle], selectors: Any) -> None:
    if not isinstance(selectors, list) or (selectors and len(selectors) != len(bundles)):
        raise ValueError(
            f"Invalid bundle label selector {selectors}. "
            "The length of `bundle_label_selector` should equal the length of `bundles`."
        )
    from ray._private.label_utils import validate_label_selector

    for selector in selectors:
        error = validate_label_selector(selector)
        if error:
            raise ValueError(
                f"Invalid label selector provided in bundle_label_selector list. Detailed error: '{error}'"
            )
