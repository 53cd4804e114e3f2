"""A network of made-up machines: namespaces around a hub, each on a cable that may be slow, lossy or cut.

The kernel's own queueing discipline for that is missing on many machines, so a
cable is a pair of TUN devices and a thread that passes packets on.
"""

import fcntl
import os
import random
import select
import struct
import subprocess
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000


def ip(*words):
    """Runs ip; raises OSError with what it says."""
    done = subprocess.run(["ip", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stdout.strip()}")


def _tun(space, name):
    """A TUN device in a namespace: the file that stands for its other end."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    found = []

    def make():  # a thread may be in another namespace than its process
        with open(f"/var/run/netns/{space}") as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                found.append(OSError(ctypes.get_errno(), "setns"))
                return
        try:
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
            found.append(fd)
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


class Cable:
    """Two ends; ``delay`` in seconds each way, ``loss`` from 0 to 1, ``cut`` passes nothing."""

    def __init__(self, hub, space, number):
        self.delay, self.loss, self.cut = 0.0, 0.0, False
        self.ends = []
        self._closed = False
        for where, own, other in (
            (hub, f"10.214.{number}.1", f"10.214.{number}.2"),
            (space, f"10.214.{number}.2", f"10.214.{number}.1"),
        ):
            name = f"c{number}"
            self.ends.append(_tun(where, name))
            ip("-n", where, "addr", "add", own, "peer", other, "dev", name)
            ip("-n", where, "link", "set", name, "mtu", "1400", "up")
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self):
        chance, waiting = random.Random(1), []  # (when, end, packet), in order: the delay is the same for all
        while not self._closed:
            timeout = min(0.05, max(0.0, waiting[0][0] - time.monotonic())) if waiting else 0.05
            for fd in select.select(self.ends, [], [], timeout)[0]:
                for _ in range(64):
                    try:
                        packet = os.read(fd, 65536)
                    except OSError:
                        break
                    if not self.cut and chance.random() >= self.loss:
                        other = self.ends[1] if fd == self.ends[0] else self.ends[0]
                        waiting.append((time.monotonic() + self.delay, other, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, fd, packet = waiting.pop(0)
                if not self.cut:
                    try:
                        os.write(fd, packet)
                    except OSError:
                        pass  # the queue is full, or the device gone: a lost packet

    def close(self):
        self._closed = True
        self._thread.join()
        for fd in self.ends:
            os.close(fd)


class Network:
    """A hub, in which a head may run, and machines; all are gone after close()."""

    def __init__(self, machines):
        mark = f"ray{os.getpid() % 100000}"
        self.hub, self.spaces, self.cables = f"{mark}h", [], []
        try:
            self._make(self.hub)
            subprocess.run(["ip", "netns", "exec", self.hub, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
            for number in range(1, machines + 1):
                space = f"{mark}m{number}"
                self._make(space)
                self.spaces.append(space)
                self.cables.append(Cable(self.hub, space, number))
                ip("-n", space, "route", "add", "default", "via", f"10.214.{number}.1")
            ip("-n", self.hub, "addr", "add", "10.214.0.1/32", "dev", "lo")
        except (OSError, subprocess.CalledProcessError):
            self.close()
            raise

    def _make(self, space):
        ip("netns", "add", space)
        ip("-n", space, "link", "set", "lo", "up")

    def close(self):
        for cable in self.cables:
            cable.close()
        for space in [self.hub, *self.spaces]:
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)
