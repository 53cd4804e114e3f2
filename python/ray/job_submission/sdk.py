"""The client of the job server."""

import asyncio
import json
import os
import threading
from typing import Any, AsyncIterator, Callable, Dict, List, Optional, Union

from ray._private.http import HttpClient, Response
from ray.job_submission.clusters import parse_cluster_info
from ray.job_submission.following import Follower
from ray.job_submission.models import JobDetails, JobStatus
from ray.runtime_env import RuntimeEnv
from ray.runtime_env.normalize import checked, upload_local
from ray.runtime_env.packaging import split_uri

_HEADERS_VARIABLE = "RAY_JOB_HEADERS"
_END = object()


class JobSubmissionClient:
    """Submits jobs and asks about them.

    Args:
        address: http(s)://host:port of the dashboard, or an address of the
            cluster, or ``module://rest``; see :func:`ray.job_submission.clusters.parse_cluster_info`.
        create_cluster_if_needed: passed on to the module of such an address.
        cookies, headers: sent with every call; RAY_JOB_HEADERS (JSON) adds headers.
        metadata: joined to the metadata of each job.
        verify: whether to check an https certificate, or the file to check it against.

    Raises:
        ConnectionError: nobody answers there.
        RuntimeError: what answers has no job server.
    """

    def __init__(
        self,
        address: Optional[str] = None,
        create_cluster_if_needed: bool = False,
        cookies: Optional[Dict[str, Any]] = None,
        metadata: Optional[Dict[str, Any]] = None,
        headers: Optional[Dict[str, Any]] = None,
        verify: Union[str, bool, None] = True,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise TypeError(f"JobSubmissionClient got unexpected arguments: {', '.join(sorted(kwargs))}")
        given = os.environ.get(_HEADERS_VARIABLE)
        if given:
            try:
                headers = {**json.loads(given), **(headers or {})}
            except ValueError:
                raise ValueError(f"{_HEADERS_VARIABLE} must be a JSON object, got {given!r}") from None
        cluster = parse_cluster_info(address, create_cluster_if_needed, cookies, metadata, headers)
        self._address: str = cluster.address
        self._default_metadata = dict(cluster.metadata or {})
        self._http = HttpClient(self._address, headers=cluster.headers, verify=verify, cookies=cluster.cookies)
        self._check_connection()

    def _check_connection(self) -> None:
        answer = self._http.request("GET", "/api/version")
        if answer.status == 404:
            raise RuntimeError(
                f"Jobs API not supported on the server at {self._address}: it has no /api/version. "
                "Check that this is the address of a dashboard."
            )
        self._expect(answer)

    @staticmethod
    def _expect(answer: Response) -> Response:
        """The answer, if its status says success.

        Raises:
            RuntimeError: with the server's text otherwise.
        """
        if answer.status != 200:
            raise RuntimeError(f"Request failed with status code {answer.status}: {answer.text.strip()}.")
        return answer

    def _do_request(
        self, method: str, endpoint: str, *, data: Optional[bytes] = None, json_data: Optional[Dict[str, Any]] = None
    ) -> Response:
        """A call of the REST API that has no method of its own here; an error status is an answer, too."""
        return self._http.request(method, endpoint, data=data, json_body=json_data)

    def get_address(self) -> str:
        """http(s)://host:port of the server."""
        return self._address

    def get_version(self) -> str:
        """Version of the job server's API."""
        return self._expect(self._http.request("GET", "/api/version")).json()["version"]

    def submit_job(
        self,
        *,
        entrypoint: str,
        job_id: Optional[str] = None,
        runtime_env: Optional[Dict[str, Any]] = None,
        metadata: Optional[Dict[str, str]] = None,
        submission_id: Optional[str] = None,
        entrypoint_num_cpus: Optional[Union[int, float]] = None,
        entrypoint_num_gpus: Optional[Union[int, float]] = None,
        entrypoint_memory: Optional[int] = None,
        entrypoint_resources: Optional[Dict[str, float]] = None,
        entrypoint_label_selector: Optional[Dict[str, str]] = None,
    ) -> str:
        """Runs a command on the cluster; returns at once.

        Args:
            entrypoint: a line for the shell.
            runtime_env: environment of the job; local folders are uploaded.
            metadata: anything to remember, text to text.
            submission_id: name of the job; made up if not given. ``job_id`` is its old name.
            entrypoint_num_cpus, entrypoint_num_gpus, entrypoint_memory (bytes),
            entrypoint_resources, entrypoint_label_selector: what the command itself needs.

        Returns:
            The submission id.

        Raises:
            RuntimeError: the server refuses, e.g. an id that exists.
            TypeError, ValueError: runtime_env cannot be.
        """
        if not isinstance(entrypoint, str):
            raise TypeError(f"entrypoint must be a string, got {type(entrypoint)}")
        request: Dict[str, Any] = {
            "entrypoint": entrypoint,
            "submission_id": submission_id or job_id,
            "runtime_env": self._environment(runtime_env),
            "metadata": {**self._default_metadata, **(metadata or {})},
            "entrypoint_num_cpus": entrypoint_num_cpus,
            "entrypoint_num_gpus": entrypoint_num_gpus,
            "entrypoint_memory": entrypoint_memory,
            "entrypoint_resources": entrypoint_resources,
            "entrypoint_label_selector": entrypoint_label_selector,
        }
        request = {name: value for name, value in request.items() if value is not None}
        answer = self._expect(self._http.request("POST", "/api/jobs/", json_body=request)).json()
        return answer.get("submission_id") or answer["job_id"]

    def _environment(self, env: Union[Dict[str, Any], RuntimeEnv, None]) -> Dict[str, Any]:
        hook = (env or {}).get("worker_process_setup_hook")
        if callable(hook):
            raise ValueError(
                f"Invalid type {type(hook)} for `worker_process_setup_hook`. "
                "A submitted job takes the dotted name of a function in a module, for the job's Python may be another."
            )
        return upload_local(checked(env), self._package_exists, self._upload_package)

    def _package_path(self, uri: str) -> str:
        scheme, name = split_uri(uri)
        return f"/api/packages/{scheme}/{name}"

    def _package_exists(self, uri: str) -> bool:
        answer = self._http.request("GET", self._package_path(uri))
        if answer.status == 404:
            return False
        self._expect(answer)
        return True

    def _upload_package(self, uri: str, data: bytes) -> None:
        self._expect(self._http.request("PUT", self._package_path(uri), data=data, timeout=600))

    def _job(self, method: str, job_id: str, tail: str = "") -> Any:
        return self._expect(self._http.request(method, f"/api/jobs/{job_id}{tail}")).json()

    def stop_job(self, job_id: str) -> bool:
        """Asks a job to stop.

        Returns:
            Whether it was running; False if it had ended.

        Raises:
            RuntimeError: there is no such job.
        """
        return bool(self._job("POST", job_id, "/stop")["stopped"])

    def delete_job(self, job_id: str) -> bool:
        """Forgets a job that has ended.

        Raises:
            RuntimeError: there is no such job, or it has not ended.
        """
        return bool(self._job("DELETE", job_id)["deleted"])

    def get_job_info(self, job_id: str) -> JobDetails:
        """Everything about one job.

        Raises:
            RuntimeError: there is no such job.
        """
        return JobDetails.from_row(self._job("GET", job_id))

    def list_jobs(self) -> List[JobDetails]:
        """All jobs that the cluster remembers, drivers that connected by themselves included."""
        rows = self._expect(self._http.request("GET", "/api/jobs/")).json()
        return [JobDetails.from_row(row) for row in rows]

    def get_job_status(self, job_id: str) -> JobStatus:
        """How far a job has come.

        Raises:
            RuntimeError: there is no such job.
        """
        return self.get_job_info(job_id).status

    def get_job_logs(self, job_id: str) -> str:
        """All that the job's command has printed so far.

        Raises:
            RuntimeError: there is no such job.
        """
        return self._job("GET", job_id, "/logs")["logs"]

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """What the job's command prints, from the beginning and as it comes.

        A connection that breaks, or a head that restarts, is waited for; nothing comes twice.

        Yields:
            Pieces of text, each of one or more lines.

        Raises:
            RuntimeError: there is no such job, or the server stayed away for minutes.
        """
        loop = asyncio.get_running_loop()
        pieces: "asyncio.Queue[Any]" = asyncio.Queue()
        put: Callable[[Any], Any] = lambda item: loop.call_soon_threadsafe(pieces.put_nowait, item)  # noqa: E731
        follower = Follower(self._http, job_id)
        threading.Thread(target=_tail, args=(follower, put), name="ray-job-logs", daemon=True).start()
        try:
            while True:
                piece = await pieces.get()
                if piece is _END:
                    return
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            follower.close()


def _tail(follower: Follower, put: Callable[[Any], Any]) -> None:
    """Reads the log in a thread; hands over texts, an exception or _END."""
    try:
        for text in follower.pieces():
            put(text)
        put(_END)
    except BaseException as error:
        try:
            put(error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more
