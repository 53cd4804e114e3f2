"""Drives a head's job server with upstream's own client; run by the Python of an environment that has upstream.

``upstream_jobs.py ADDRESS FOLDER`` prints what it saw, as one JSON object. FOLDER
holds ``project/main.py`` and the module ``beside``.
"""

import asyncio
import json
import pathlib
import sys
import time

from ray.job_submission import JobStatus, JobSubmissionClient


async def followed(client, job):
    """The output that the log stream gave until the job was at its end."""
    return "".join([lines async for lines in client.tail_job_logs(job)])


def refused(call, *args, **options):
    """What the client raised."""
    try:
        call(*args, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def waited(client, job):
    deadline = time.monotonic() + 60
    while not client.get_job_status(job).is_terminal():
        assert time.monotonic() < deadline, client.get_job_info(job)
        time.sleep(0.02)
    return client.get_job_info(job)


def main(address, folder):
    client = JobSubmissionClient(address)
    said = {"version": client.get_version()}
    env = {
        "working_dir": str(folder / "project"),
        "py_modules": [str(folder / "beside")],
        "env_vars": {"GIVEN": "a value"},
    }
    job = client.submit_job(
        entrypoint="python main.py",
        submission_id="the-first",
        runtime_env=env,
        metadata={"of": "upstream"},
        entrypoint_num_cpus=1,
        entrypoint_resources={"thing": 0.5},
        entrypoint_memory=1 << 20,
    )
    said["id"] = job
    said["followed"] = asyncio.run(followed(client, job))
    info = waited(client, job)
    said["info"] = {
        name: getattr(info, name) for name in ("type", "entrypoint", "metadata", "submission_id", "driver_exit_code")
    }
    said["status"], said["env"] = info.status.value, info.runtime_env["env_vars"]
    said["driver"] = info.driver_info.node_ip_address
    said["logs"] = client.get_job_logs(job)
    said["twice"] = refused(client.submit_job, entrypoint="true", submission_id="the-first")

    failed = client.submit_job(entrypoint="sh -c 'echo why; exit 3'")
    info = waited(client, failed)
    said["failed"] = [info.status.value, info.driver_exit_code, info.message]

    slow = client.submit_job(entrypoint="sleep 600")
    while client.get_job_status(slow) != JobStatus.RUNNING:
        time.sleep(0.02)
    said["delete of one that runs"] = refused(client.delete_job, slow)
    said["stop"] = client.stop_job(slow)
    said["stopped"] = waited(client, slow).status.value
    said["listed"] = sorted(j.submission_id for j in client.list_jobs())
    said["delete"] = client.delete_job(slow)
    said["deleted"] = refused(client.get_job_info, slow)
    json.dump(said, sys.stdout)


main(sys.argv[1], pathlib.Path(sys.argv[2]))
