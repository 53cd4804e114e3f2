"""The main loop of a worker: tasks, one after the other.

The main thread reads the data connection and runs plain tasks and the calls of
ordinary actors. Threaded and asynchronous actors run their calls elsewhere
(:mod:`ray._core.concurrency`).
"""

import os
import sys
import time
from typing import Any, Dict, Tuple

from ray._core import devices, frames, state
from ray._core.assignment import Exec, Template
from ray._core.client import Client
from ray._core.entries import RefGuard
from ray._core.orders import Orders
from ray._core.performing import Performer
from ray._core.process import ExitNow
from ray._core.state import TaskInfo
from ray._core.title import set_title

_perf = time.perf_counter


#: A task that took less than this (seconds) may be followed by its like before its result is sent.
_SHORT_S = 0.0002
#: A result is held back no longer than this (seconds).
_HOLD_S = 0.001


class Worker(Performer, Orders):
    """A worker process at work."""

    def __init__(self, client: Client, control: Any) -> None:
        super().__init__(client, control)
        client.on_exec = self.queue.append
        client.on_lease = self.queue.append
        client.on_code = self._on_code
        client.on_block = self._on_block
        client.on_unblock = self._on_unblock
        client.on_death = self._on_death

    def run(self) -> None:
        """Runs tasks until the daemon or the actor says that it is over."""
        client, queue = self.client, self.queue

        def some() -> bool:
            return bool(queue) or self.exiting is not None

        def keys() -> Tuple[str, ...]:
            return ("exec",)

        while True:
            if not queue:
                self.held_since = 0.0
                try:
                    self.idle = True
                    client.wait_until(some, keys, None)
                    self.idle = False  # still inside: a signal that comes now must not be one too many
                except ExitNow:
                    self.finish()
            if self.exiting is not None and not queue:
                self.finish()
            while queue:
                item = queue.popleft()
                if type(item) is dict:
                    self._new_lease(item)
                else:
                    self._execute(item)

    def _on_code(self, kind: int, body: bytes) -> None:
        if kind == frames.TEMPLATE:
            number = frames.U32.unpack_from(body, 0)[0]
            self.templates[number] = Template(frames.load_json(body[4:]))
        else:
            self.code[body[:28].hex()] = body[28:]

    def _new_lease(self, lease: Dict[str, Any]) -> None:
        self.lease = lease
        devices.show(lease.get("devices") or {}, lease.get("gpu_variable") or "")
        held = lease.get("resources") or {}
        # In a placement group the name has the group's id, and one more entry has the bundle's number.
        cpus = held.get("CPU") or max((n for name, n in held.items() if name.startswith("CPU_group_")), default=0)
        if "OMP_NUM_THREADS" not in os.environ or os.environ.get("RAY_OMP_NUM_THREADS_SET") == "1":
            os.environ["OMP_NUM_THREADS"] = str(max(1, int(cpus)))
            os.environ["RAY_OMP_NUM_THREADS_SET"] = "1"
        for template in self.templates.values():
            template.info = None

    # -------------------------------------------------------------- one task

    def _execute(self, data: bytes) -> None:
        item = Exec(data)
        client = self.client
        if item.refs:
            client.hold(item.refs)
            item.guard = RefGuard(client._gone, item.refs)
        if not self._may_begin(item):
            self._drop(item)
            return
        template = self.templates[item.template]
        if self.executor is not None:
            self.executor.submit(item, template)
            return
        if template.group and item.kind == frames.KIND_ACTOR_CALL and self._submit_aside(item, template):
            return
        if client._out and not (
            self.last_short and self.last_template == item.template and _perf() - self.held_since < _HOLD_S
        ):
            client.flush()
        self.last_template = item.template
        started = _perf()
        info = self._info(item, template)
        state._process_task = info
        self.running = info
        self._show(template)
        status, values, items = self.perform(item, template, info)
        self.running = None
        item.guard = None
        item.deps = ()
        sys.stdout.flush()
        sys.stderr.flush()
        ended = _perf()
        self.last_short = ended - started < _SHORT_S
        if not client._out:
            self.held_since = ended
        self.report(item, template, status, values, items, int((ended - started) * 1e6))
        with self.lock:
            self.seq = 0
            self._words[self._at] = 0
        if status in (frames.OK_EXIT, frames.ACTOR_EXIT) or (self.exiting is not None and not self.queue):
            self.finish()

    def _submit_aside(self, item: Exec, template: Template) -> bool:
        """Runs a call of one of the groups that every actor has beside the calls of the main thread."""
        from ray._core import concurrency

        if template.group not in concurrency.SYSTEM_GROUPS:
            return False
        with self.lock:
            self.seq = 0
            self._words[self._at] = 0
        concurrency.system_executor_of(self).submit(item, template)
        return True

    def _may_begin(self, item: Exec) -> bool:
        """Whether the task is still this process's; if so, it has begun.

        The daemon may take tasks back although this process answers nothing, as it is stopped or too busy: it leaves
        a mark in the slot and looks there for what is about to begin. So this side stores that, or that it does not
        begin it after all, and reads the mark after it, with the lock as the fence in between.
        """
        words, at = self._words, self._at
        while True:
            with self.lock:
                if self._belongs_to_daemon(item):
                    return False
                if self.executor is not None:
                    return True
                words[at] = words[at + 1] = item.seq
            with self.lock:
                if not self._belongs_to_daemon(item):
                    self.seq = self.begun = item.seq
                    return True
                words[at], words[at + 1] = 0, self.begun

    def _belongs_to_daemon(self, item: Exec) -> bool:
        epoch = item.epoch
        if not epoch or item.kind == frames.KIND_ACTOR_CALL:
            return False
        mark = self._words[self._at + 2]
        if epoch > mark >> 32:
            return epoch <= self.recalled or epoch <= self.given_up
        if epoch == mark >> 32 and item.seq <= mark & 0xFFFFFFFF:
            return False
        self.recalled = max(self.recalled, epoch)
        self.send_control(frames.pair_frame(frames.RECALLED, epoch, self.begun))
        return True

    def _info(self, item: Exec, template: Template) -> TaskInfo:
        """The task's facts; one object serves all tasks of a template under a lease."""
        info = template.info
        if info is None or item.kind == frames.KIND_ACTOR_CREATE:
            info = self.new_info(item, template)
            template.info = info
            return info
        info.task_id = item.task_id
        info.parent_id = item.parent_id
        info.attempt = item.attempt
        info.seq = item.seq
        info.epoch = item.epoch
        info.canceled = False
        return info

    def new_info(self, item: Exec, template: Template) -> TaskInfo:
        """A new TaskInfo for the task."""
        kind = ("task", "actor_create", "actor_call")[item.kind]
        info = TaskInfo(item.task_id, kind, template.name, template.function_name)
        info.parent_id = item.parent_id
        info.attempt = item.attempt
        info.seq = item.seq
        info.epoch = item.epoch
        info.template = template.json
        info.runtime_env = template.json.get("runtime_env") or self.runtime_env
        creation = state.actor.creation if state.actor is not None else None
        if item.kind == frames.KIND_ACTOR_CALL and creation is not None:
            info.actor_id = creation.actor_id
            info.resources = creation.resources
            info.devices = creation.devices
            info.placement_group = creation.placement_group
            info.capture_children = creation.capture_children
            info.runtime_env = creation.runtime_env
            return info
        lease = self.lease
        info.resources = lease.get("resources") or {}
        info.devices = lease.get("devices") or {}
        group = lease.get("placement_group") or ""
        info.placement_group = bytes.fromhex(group) if group.strip("0") else None
        info.capture_children = bool(lease.get("capture_children"))
        if info.capture_children:
            from ray.remote_function import children_follow

            children_follow()
        if item.kind == frames.KIND_ACTOR_CREATE:
            info.actor_id = item.task_id[8:]
        return info

    def _show(self, template: Template) -> None:
        """Tells the log and ps what runs now."""
        if self.marker != template.marker:
            self.marker = template.marker
            self.mark(":task_name:" if template.json.get("kind") == "task" else ":actor_name:", template.marker)
        if self.title != template.name:
            self.title = template.name
            set_title(f"ray::{template.name}")
