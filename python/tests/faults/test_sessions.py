"""Connecting again and again, rubbish on the socket, and what may be reached by whom."""

import json
import os
import pathlib
import socket
import stat
import struct

import pytest

pytestmark = pytest.mark.timeout(60)


def test_a_hundred_sessions_leak_nothing(cluster):
    status, out, err = cluster.drive(
        """
        import os, threading, ray

        def held():
            return threading.active_count(), len(os.listdir("/proc/self/fd"))

        def session():
            ray.init()
            assert ray.get(ray.remote(lambda: 1).options(num_cpus=0.1).remote()) == 1
            ray.shutdown()

        for _ in range(3):
            session()
        before = held()
        for _ in range(97):
            ray.init()
            ray.put(1)
            ray.shutdown()
        session()
        print(before, held())
        assert held()[0] <= before[0] and held()[1] <= before[1] + 1, (before, held())
        """
    )
    assert status == 0, out + err


def test_every_way_of_connecting(cluster):
    status, out, err = cluster.drive(
        """
        import os, ray
        address = os.environ.pop("RAY_ADDRESS")
        here = None
        for given in (address, "auto", "ray://" + os.environ["NODE_ADDRESS"]):
            with ray.init(given) as context:
                assert ray.get(ray.remote(lambda: 7).remote()) == 7, given
                here = here or ray.get_runtime_context().get_node_id()
                assert ray.get(ray.remote(lambda: ray.get_runtime_context().get_node_id()).remote()) == here, given
        os.environ["RAY_ADDRESS"] = address
        with ray.init():
            assert ray.nodes()[0]["NodeID"] == here
        with ray.init("local", num_cpus=1, object_store_memory=10**8):
            assert ray.nodes()[0]["NodeID"] != here
        """,
        env={"NODE_ADDRESS": cluster.announcement()["node_address"]},
    )
    assert status == 0, out + err


def test_several_remote_clients_at_once(cluster):
    source = """
        import os, ray
        ray.init("ray://" + os.environ["NODE_ADDRESS"])
        print(sum(ray.get([ray.remote(lambda i=i: i).remote() for i in range(50)])))
        """
    drivers = [cluster.spawn(source, env={"NODE_ADDRESS": cluster.announcement()["node_address"]}) for _ in range(3)]
    for driver in drivers:
        out, err = driver.communicate(timeout=40)
        assert (driver.returncode, out.split()[-1:]) == (0, ["1225"]), err


HELLO = json.dumps(
    {"proto": 1, "version": "2.60.0", "role": "driver", "conn": "data", "python": "3.11", "pid": 1, "job": {}}
)


def frame(kind, body):
    return struct.pack("<IBBH", 4 + len(body), kind, 0, 0) + body


RUBBISH = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "cut off": frame(0x01, HELLO.encode())[:20],
    "no JSON": frame(0x01, b"{"),
    "too long": struct.pack("<IBBH", 0xFFFFFFFF, 1, 0, 0),
    "too short": struct.pack("<IBBH", 0, 1, 0, 0),
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("name", sorted(RUBBISH))
def test_rubbish_before_hello(cluster, name):
    path = cluster.announcement()["socket"]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(RUBBISH[name])
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    assert cluster.ray("health-check", "--address", cluster.address).returncode == 0


def test_rubbish_after_hello_ends_that_client_only(cluster):
    path = cluster.announcement()["socket"]
    for kind in range(0x08, 0x21):
        for body in (b"", b"\xff" * 7, b"\xff" * 300, bytes(300)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(path)
                sock.sendall(frame(0x01, HELLO.encode()))
                assert sock.recv(65536)
                try:
                    sock.sendall(frame(kind, body))
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    pass
    source = "import ray; ray.init(); print(ray.get(ray.remote(lambda: 7).remote(), timeout=20))"
    status, out, err = cluster.drive(source)
    assert (status, out.split()[-1:]) == (0, ["7"]), err


def golden_frames():
    """Whole, well-formed frames of every type: what the tests of both languages are checked against."""
    path = pathlib.Path(__file__).resolve().parents[3] / "internal" / "wire" / "testdata" / "frames.txt"
    lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    frames = []
    for words in lines:
        try:
            frames.append(bytes.fromhex(words[-1]))
        except ValueError:
            continue
    assert len(frames) > 20, "the file is not read as it should be"
    return frames


def mutated(dice, frames):
    """A few frames, some of them damaged, perhaps cut off at the end."""
    out = b""
    for _ in range(dice.randrange(1, 8)):
        one = bytearray(dice.choice(frames))
        for _ in range(dice.choice((0, 0, 1, 1, 2, 8))):
            # Lengths and counts are the interesting bytes: they come first.
            at = dice.randrange(min(len(one), 100)) if dice.random() < 0.8 else dice.randrange(len(one))
            one[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        if dice.random() < 0.1:
            del one[dice.randrange(1, len(one)) :]
        out += one
    return out[: dice.randrange(len(out) + 1)] if dice.random() < 0.2 else out


@pytest.mark.timeout(150)
def test_the_daemon_survives_any_frames(cluster):
    """Hundreds of drivers that send damaged frames: each loses its own connection at most."""
    import random

    path, pid = cluster.announcement()["socket"], cluster.head()
    frames = golden_frames()
    witness = cluster.spawn(
        """
        import os, ray, time
        ray.init()
        kept = ray.put(b"kept")
        actor = ray.remote(num_cpus=0)(type("A", (), {"get": lambda self, x: x})).remote()
        print("up", flush=True)
        while not os.path.exists("stop"):
            assert ray.get(actor.get.remote(kept), timeout=30) == b"kept"
            time.sleep(0.01)
        print("fine", flush=True)
        """
    )
    assert witness.stdout.readline() == "up\n"
    for seed in range(400):
        dice = random.Random(seed)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(path)
            sock.sendall(frame(0x01, HELLO.encode()))
            greeting = sock.recv(65536)
            control = None
            if dice.random() < 0.3:
                hello = {**json.loads(HELLO), "conn": "control", "client_id": json.loads(greeting[8:])["client_id"]}
                control = socket.socket(socket.AF_UNIX)
                control.settimeout(10)
                control.connect(path)
                control.sendall(frame(0x01, json.dumps(hello).encode()))
            try:
                for end in filter(None, (control, sock)):
                    end.sendall(mutated(dice, frames))
                    end.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except (BrokenPipeError, ConnectionResetError, socket.timeout):
                pass
            finally:
                if control is not None:
                    control.close()
    os.kill(pid, 0)
    assert cluster.announcement()["pid"] == pid
    (cluster.root / "work" / "stop").write_text("")
    out, err = witness.communicate(timeout=60)
    assert (witness.returncode, out) == (0, "fine\n"), err
    source = "import ray; ray.init(); print(ray.get(ray.remote(lambda: 7).remote(), timeout=20))"
    status, out, err = cluster.drive(source)
    assert (status, out.split()[-1:]) == (0, ["7"]), err


def test_wrong_token(cluster):
    status, out, err = cluster.drive(
        "import os, ray; ray.init('ray://' + os.environ['RAY_ADDRESS'])", env={"RAY_AUTH_TOKEN": "0" * 64}
    )
    assert status == 1
    assert "token" in err


def listening(pids):
    """Addresses (hex) on which the processes listen over TCP."""
    inodes = set()
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{name}")
                if link.startswith("socket:["):
                    inodes.add(link[8:-1])
        except OSError:
            continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(fields[1].split(":")[0])
    return found


def test_only_loopback_listens(cluster):
    found = listening(cluster.processes())
    assert found
    assert set(found) <= {"0100007F"}, found


def test_files_are_private_and_the_token_is_nowhere(cluster):
    cluster.drive("import ray; ray.init(); print(ray.get(ray.remote(lambda: 7).remote()))")
    token_file = cluster.root / "home" / ".ray" / "auth_token"
    token = token_file.read_text().strip()
    assert len(token) == 64
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    row = cluster.announcement()
    folder = pathlib.Path(row["socket"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in pathlib.Path(row["session_dir"]).rglob("*"):
        if path.is_symlink() or not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o077, f"{path} has mode {mode:o}"
        if path.is_file() and path.stat().st_size < 1 << 24:
            assert token.encode() not in path.read_bytes(), f"the token is in {path}"
    for pid, line in cluster.processes().items():
        assert token not in line, f"the token is in the command line of {pid}"


def test_without_authentication_on_loopback_only(place):
    words = ("start", "--head", "--node-ip-address", "0.0.0.0", "--port", "0")
    refused = place.ray(*words, env={"RAY_AUTH_MODE": "disabled"})
    assert refused.returncode == 1
    assert "loopback" in refused.stderr
    place.nothing_runs()
