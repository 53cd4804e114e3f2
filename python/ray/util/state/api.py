"""Questions about the state of a cluster, asked over HTTP or over this process's connection."""

import warnings
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from ray._private.addresses import dashboard_url
from ray._private.http import HttpClient
from ray.util.state.common import (
    DEFAULT_LIMIT,
    DEFAULT_RPC_TIMEOUT,
    ID_COLUMNS,
    RAY_MAX_LIMIT_FROM_API_SERVER,
    SCHEMAS,
    ActorState,
    Filters,
    GetApiOptions,
    JobState,
    ListApiOptions,
    NodeState,
    ObjectState,
    PlacementGroupState,
    RuntimeEnvState,
    StateResource,
    StateSchema,
    SummaryApiOptions,
    SummaryResource,
    TaskState,
    WorkerState,
)
from ray.util.state.exception import RayStateApiException, ServerUnavailable

_PREDICATES = ("=", "!=")


class StateApiClient:
    """Asks one server.

    Args:
        address: of the dashboard or of the cluster; see
            :func:`ray._private.addresses.dashboard_url`.
        cookies, headers: sent with every call.

    Raises:
        ServerUnavailable: nobody there tells where the dashboard is.
    """

    def __init__(
        self,
        address: Optional[str] = None,
        cookies: Optional[Dict[str, Any]] = None,
        headers: Optional[Dict[str, Any]] = None,
    ) -> None:
        try:
            self._http = HttpClient(dashboard_url(address), headers=headers, cookies=cookies)
        except ConnectionError as error:
            raise ServerUnavailable(str(error)) from error

    def _ask(self, path: str, query: List[Tuple[str, str]], timeout: float) -> Any:
        try:
            answer = self._http.request("GET", path, query=query, timeout=timeout + 5)
        except ConnectionError as error:
            raise ServerUnavailable(str(error)) from error
        if answer.status == 429:
            raise RayStateApiException("The server has too many state API calls in flight; try again later.")
        if answer.status != 200:
            raise RayStateApiException(f"{path} answered with status {answer.status}: {answer.text.strip()[:500]}")
        reply = answer.json()
        if not reply.get("result", True):
            raise RayStateApiException(f"{path}: {reply.get('msg', 'no reason given')}")
        return reply["data"]["result"]

    def list(
        self,
        resource: StateResource,
        options: ListApiOptions,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> List[Any]:
        """Rows of a resource; see :func:`list_actors`."""
        name = StateResource(resource).value
        check_options(options.filters, options.limit)
        query = [
            ("limit", str(options.limit)),
            ("timeout", str(options.timeout)),
            ("detail", "1" if options.detail else "0"),
        ]
        if name == "tasks":
            query.append(("exclude_driver", "1" if options.exclude_driver else "0"))
        query += _filter_query(options.filters)
        payload = self._ask(f"/api/v0/{name}", query, options.timeout)
        _check_complete(payload, raise_on_missing_output)
        if _explain:
            print(f"{payload.get('num_after_truncation')} of {payload.get('total')} {name} from the server")
        return to_rows(name, payload["result"])

    def get(
        self, resource: StateResource, id: str, options: Optional[GetApiOptions] = None, _explain: bool = False
    ) -> Any:
        """The row with this id; None if there is none. For objects: all rows with it."""
        name = StateResource(resource).value
        filters: Filters = [(ID_COLUMNS[name], "=", id)]
        timeout = (options or GetApiOptions()).timeout
        rows = self.list(
            StateResource(resource), ListApiOptions(timeout=timeout, detail=True, filters=filters), _explain=_explain
        )
        return one_of(name, rows)

    def summary(
        self,
        resource: SummaryResource,
        *,
        options: SummaryApiOptions,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> Dict[str, Any]:
        """Counts; see :func:`summarize_tasks`."""
        name = SummaryResource(resource).value
        query = [("timeout", str(options.timeout))] + _filter_query(options.filters)
        if options.summary_by:
            query.append(("summary_by", options.summary_by))
        payload = self._ask(f"/api/v0/{name}/summarize", query, options.timeout)
        _check_complete(payload, raise_on_missing_output)
        return payload["result"]["node_id_to_summary"]

    def logs(self, query: List[Tuple[str, str]], timeout: float) -> Dict[str, List[str]]:
        """Names of log files by kind."""
        return self._ask("/api/v0/logs", query, timeout)

    def log(self, media: str, query: List[Tuple[str, str]], timeout: float) -> Iterator[bytes]:
        """Content of a log file, in pieces."""
        try:
            yield from self._http.stream(f"/api/v0/logs/{media}", query, timeout)
        except ConnectionError as error:
            raise ServerUnavailable(str(error)) from error
        except RuntimeError as error:
            raise RayStateApiException(str(error)) from error


def check_options(filters: Optional[Filters], limit: int) -> None:
    """Raises ValueError for a filter or a limit that cannot be."""
    if limit <= 0 or limit > RAY_MAX_LIMIT_FROM_API_SERVER:
        raise ValueError(f"limit must be between 1 and {RAY_MAX_LIMIT_FROM_API_SERVER}, got {limit}")
    for item in filters or []:
        if len(item) != 3:
            raise ValueError(f"The given filter has incorrect input type, (key, predicate, value). Provided: {item}")
        if item[1] not in _PREDICATES:
            raise ValueError(f"Unsupported filter predicate {item[1]!r} is given. Available predicates: =, !=.")


def _filter_query(filters: Optional[Filters]) -> List[Tuple[str, str]]:
    query: List[Tuple[str, str]] = []
    for key, predicate, value in filters or []:
        query += [("filter_keys", key), ("filter_predicates", predicate), ("filter_values", str(value))]
    return query


def _check_complete(payload: Dict[str, Any], strict: bool) -> None:
    """What the server could not gather is an error, or with strict=False a warning."""
    problems = [payload["partial_failure_warning"]] if payload.get("partial_failure_warning") else []
    problems += payload.get("warnings") or []
    if problems and strict:
        raise RayStateApiException(
            f"The answer is not complete: {'; '.join(problems)}. Use raise_on_missing_output=False to take it as it is."
        )
    for problem in problems:
        warnings.warn(problem, stacklevel=4)


def to_rows(name: str, rows: List[Dict[str, Any]]) -> List[Any]:
    """Dicts as rows; cluster events stay dicts."""
    if name == "cluster_events":
        return rows
    return [SCHEMAS[name].from_row(row) for row in rows or []]


def one_of(name: str, rows: List[Any]) -> Any:
    """The one row among rows; the newest attempt of a task; None where there is none."""
    if name == "objects":
        return rows
    if not rows:
        return None
    if name == "tasks":
        return max(rows, key=lambda row: row.attempt_number or 0)
    return rows[0]


def _list(
    name: str,
    address: Optional[str],
    filters: Optional[Filters],
    limit: int,
    timeout: int,
    detail: bool,
    strict: bool,
    explain: bool,
) -> List[Any]:
    """Rows by HTTP, or over the connection where the process has one and no address is given."""
    from ray._core import state

    check_options(filters, limit)
    if address is None and state.is_connected():
        wanted = [[key, predicate, str(value)] for key, predicate, value in filters or []]
        params = {"resource": name, "filters": wanted, "limit": limit, "detail": detail}
        try:
            reply, _ = state.connected().call("state.list", params, timeout=timeout)
        except ValueError as error:
            raise RayStateApiException(str(error)) from None
        return to_rows(name, reply.get("rows") or [])
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters or [])
    return StateApiClient(address).list(StateResource(name), options, strict, explain)


def _get(name: str, id: str, address: Optional[str], timeout: int, explain: bool) -> Any:
    filters: Filters = [(ID_COLUMNS[name], "=", id)]
    return one_of(name, _list(name, address, filters, DEFAULT_LIMIT, timeout, True, True, explain))


def list_actors(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[ActorState]:
    """Actors of the cluster.

    Args:
        address: http(s)://host:port of the dashboard or address of the
            cluster; by default the cluster to which this process is connected.
        filters: (column, ``"="`` or ``"!="``, value); all must hold.
        limit: most rows.
        timeout: most seconds.
        detail: fill in all columns.
        raise_on_missing_output: raise when a part of the cluster cannot be asked.

    Raises:
        RayStateApiException: the question cannot be answered.
        ValueError: a filter or the limit cannot be.
    """
    return _list("actors", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_placement_groups(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[PlacementGroupState]:
    """Placement groups; arguments as for :func:`list_actors`."""
    return _list("placement_groups", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_nodes(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[NodeState]:
    """Nodes; arguments as for :func:`list_actors`."""
    return _list("nodes", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_jobs(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[JobState]:
    """Jobs; arguments as for :func:`list_actors`."""
    return _list("jobs", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_workers(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[WorkerState]:
    """Worker processes and drivers; arguments as for :func:`list_actors`."""
    return _list("workers", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_tasks(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[TaskState]:
    """Attempts of tasks; arguments as for :func:`list_actors`."""
    return _list("tasks", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_objects(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[ObjectState]:
    """References to objects; arguments as for :func:`list_actors`."""
    return _list("objects", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_runtime_envs(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[RuntimeEnvState]:
    """Runtime environments; arguments as for :func:`list_actors`."""
    return _list("runtime_envs", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def list_cluster_events(
    address: Optional[str] = None,
    filters: Optional[Filters] = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> List[Dict[str, Any]]:
    """Events, as dicts; arguments as for :func:`list_actors`."""
    return _list("cluster_events", address, filters, limit, timeout, detail, raise_on_missing_output, _explain)


def get_actor(
    id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[ActorState]:
    """The actor with this id, None if there is none."""
    return _get("actors", id, address, timeout, _explain)


def get_job(
    id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[JobState]:
    """The job with this id (or submission id), None if there is none."""
    column = "job_id" if len(id) == 8 and all(char in "0123456789abcdef" for char in id) else "submission_id"
    rows = _list("jobs", address, [(column, "=", id)], DEFAULT_LIMIT, timeout, True, True, _explain)
    return rows[0] if rows else None


def get_placement_group(
    id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[PlacementGroupState]:
    """The placement group with this id, None if there is none."""
    return _get("placement_groups", id, address, timeout, _explain)


def get_node(
    id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[NodeState]:
    """The node with this id, None if there is none."""
    return _get("nodes", id, address, timeout, _explain)


def get_worker(
    id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[WorkerState]:
    """The worker with this id, None if there is none."""
    return _get("workers", id, address, timeout, _explain)


def get_task(
    id: Union[str, Any], address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> Optional[TaskState]:
    """The last attempt of the task with this id (or of the task that makes this object ref)."""
    task_id = id if isinstance(id, str) else id.task_id().hex()
    return _get("tasks", task_id, address, timeout, _explain)


def get_objects(
    id: str, address: Optional[str] = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
) -> List[ObjectState]:
    """All references to the object with this id."""
    return _get("objects", id, address, timeout, _explain)


def _summary(name: str, address: Optional[str], timeout: int, strict: bool, explain: bool) -> Dict[str, Any]:
    return StateApiClient(address).summary(
        SummaryResource(name), options=SummaryApiOptions(timeout=timeout), raise_on_missing_output=strict
    )


def summarize_tasks(
    address: Optional[str] = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> Dict[str, Any]:
    """Counts of tasks by name and state: ``["cluster"]["summary"][name]["state_counts"]``."""
    return _summary("tasks", address, timeout, raise_on_missing_output, _explain)


def summarize_actors(
    address: Optional[str] = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> Dict[str, Any]:
    """Counts of actors by class and state."""
    return _summary("actors", address, timeout, raise_on_missing_output, _explain)


def summarize_objects(
    address: Optional[str] = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> Dict[str, Any]:
    """Counts and sizes of objects by the place that made them."""
    return _summary("objects", address, timeout, raise_on_missing_output, _explain)


def list_logs(
    address: Optional[str] = None,
    node_id: Optional[str] = None,
    node_ip: Optional[str] = None,
    glob_filter: Optional[str] = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
) -> Dict[str, List[str]]:
    """Names of the log files of a node, by kind.

    Args:
        node_id, node_ip: the node; one of them.
        glob_filter: pattern of file names, ``*`` by default.

    Raises:
        ValueError: neither names a node.
    """
    if not node_id and not node_ip:
        raise ValueError("At least one of node_id and node_ip is required")
    query = [("glob", glob_filter or "*"), ("timeout", str(timeout))]
    query += [("node_id", node_id)] if node_id else [("node_ip", str(node_ip))]
    return StateApiClient(address).logs(query, timeout)


def get_log(
    address: Optional[str] = None,
    node_id: Optional[str] = None,
    node_ip: Optional[str] = None,
    filename: Optional[str] = None,
    actor_id: Optional[str] = None,
    task_id: Optional[str] = None,
    pid: Optional[int] = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    suffix: str = "out",
    encoding: Optional[str] = "utf-8",
    errors: Optional[str] = "strict",
    submission_id: Optional[str] = None,
    attempt_number: int = 0,
    _interval: Optional[float] = None,
    filter_ansi_code: bool = False,
) -> Iterator[Any]:
    """Content of a log file, in pieces.

    Args:
        filename, actor_id, task_id, pid, submission_id: what it is the log of; one of them.
        node_id, node_ip: the node, with ``filename`` and ``pid``.
        follow: go on as it grows.
        tail: last lines of it; -1 for all.
        suffix: ``"out"`` or ``"err"`` of a worker.
        encoding: None gives bytes instead of text.

    Raises:
        RayStateApiException: there is no such log.
    """
    given = {
        "node_id": node_id,
        "node_ip": node_ip,
        "filename": filename,
        "actor_id": actor_id,
        "task_id": task_id,
        "pid": pid,
        "submission_id": submission_id,
        "interval": _interval,
    }
    query = [(name, str(value)) for name, value in given.items() if value is not None]
    query += [("lines", str(tail)), ("timeout", str(timeout)), ("suffix", suffix)]
    query += [("attempt_number", str(attempt_number)), ("filter_ansi_code", "true" if filter_ansi_code else "false")]
    media = "stream" if follow else "file"
    for piece in StateApiClient(address).log(media, query, 3600 * 24 if follow else timeout):
        yield piece.decode(encoding, errors or "strict") if encoding else piece


__all__ = [
    "StateApiClient",
    "StateSchema",
    "get_actor",
    "get_job",
    "get_log",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_task",
    "get_worker",
    "list_actors",
    "list_cluster_events",
    "list_jobs",
    "list_logs",
    "list_nodes",
    "list_objects",
    "list_placement_groups",
    "list_runtime_envs",
    "list_tasks",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_tasks",
]
