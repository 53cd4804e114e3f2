"""A TCP proxy on loopback that fails the way networks do."""

import random
import selectors
import socket
import struct
import threading


class Proxy:
    """Forwards connections to a target.

    life: bytes (both directions together) after which a connection is reset, chosen anew for each; None: never.
    """

    def __init__(self, host, port, life=None, seed=0):
        self.target = (host, port)
        self.life = life
        self.random = random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.cuts = 0
        self.made = 0
        self._lock = threading.Lock()
        self._pairs = set()
        self._lost = set()
        self._refusing = False
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self._closed:
                near.close()
                return
            if self._refusing:
                _reset(near)
                continue
            try:
                far = socket.create_connection(self.target, 5)
            except OSError:
                _reset(near)
                continue
            with self._lock:
                self.made += 1
                self._pairs.add((near, far))
            thread = threading.Thread(target=self._forward, args=(near, far), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _forward(self, near, far):
        left = self.random.randrange(*self.life) if self.life else None
        for sock in (near, far):
            sock.settimeout(20)
        chooser = selectors.DefaultSelector()
        chooser.register(near, selectors.EVENT_READ, far)
        chooser.register(far, selectors.EVENT_READ, near)
        try:
            while chooser.get_map() and not self._closed:
                for key, _ in chooser.select(0.2):
                    data = key.fileobj.recv(16384)
                    self._flowing.wait()
                    if (near, far) in self._lost:
                        if not data:
                            return
                        continue
                    if left is not None and len(data) >= left:
                        key.data.sendall(data[:left])  # in the middle of something
                        self.cuts += 1
                        return
                    if not data:
                        return
                    left = None if left is None else left - len(data)
                    key.data.sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            chooser.close()
            with self._lock:
                self._pairs.discard((near, far))
            _reset(near)
            _reset(far)

    def cut(self):
        """Resets every connection that there is."""
        with self._lock:
            pairs = list(self._pairs)
        for near, far in pairs:
            self.cuts += 1
            for sock in (near, far):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def half_close(self):
        """Ends the way to the target of every connection; the way back stays open."""
        with self._lock:
            pairs = list(self._pairs)
        for _, far in pairs:
            self.cuts += 1
            try:
                far.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def pause(self):
        """Nothing flows any more, and nobody is told."""
        self._flowing.clear()

    def resume(self):
        """Everything flows again."""
        self._flowing.set()

    def lose(self):
        """What is sent on the connections that there are vanishes; they stay open."""
        with self._lock:
            self._lost |= self._pairs

    def refuse(self, yes=True):
        """Whether new connections are reset at once."""
        self._refusing = yes

    def close(self):
        self._closed = True
        self._flowing.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)


def _reset(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()
