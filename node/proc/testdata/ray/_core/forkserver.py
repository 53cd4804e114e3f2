"""A small fork server for the tests of node/proc: its workers do what their environment says."""

import json
import os
import select
import signal
import socket
import sys


def send(sock, message):
    try:
        sock.send(json.dumps(message).encode())
    except OSError:
        pass  # the daemon is gone: main() hears of it too, and ends the workers


def main(fd):
    sock = socket.socket(fileno=fd)
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    send(sock, {"op": "ready", "pid": os.getpid(), "python": sys.version.split()[0]})
    children = {}
    while True:
        ready, _, _ = select.select([sock, read], [], [])
        if read in ready:
            os.read(read, 100)
            reap(sock, children)
        if sock in ready:
            try:
                data, fds, _, _ = socket.recv_fds(sock, 1 << 18, 2)
            except OSError:
                break
            if not data:
                break
            fork(sock, json.loads(data), fds, children)
    for pid in children:
        os.killpg(pid, signal.SIGKILL)


def reap(sock, children):
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code, sig = (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)
        send(sock, {"op": "exit", "worker_id": children.pop(pid), "pid": pid, "code": code, "signal": sig})


def fork(sock, msg, fds, children):
    if "FAIL" in msg.get("env", {}):
        send(sock, {"op": "fork_failed", "worker_id": msg["worker_id"], "error": "told to fail"})
    else:
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.dup2(fds[0], 1)
            os.dup2(fds[1], 2)
            os.closerange(3, 100)
            os.execve("/bin/sh", ["sh", "-c", msg["env"]["DO"]], dict(os.environ, **msg["env"]))
        try:
            os.setpgid(pid, pid)
        except PermissionError:
            pass  # it has done so and runs its program already
        children[pid] = msg["worker_id"]
        send(sock, {"op": "forked", "worker_id": msg["worker_id"], "pid": pid})
    for fd in fds:
        os.close(fd)
