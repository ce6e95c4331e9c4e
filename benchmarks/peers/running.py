"""A server as a process tree: started, waited for, measured, frozen, thawed, ended."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.catalogue import Peer, Told
from benchmarks.peers.environments import cache

ROOT: Final = Path(__file__).parents[2]
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_START_LIMIT_S: Final = 180.0


class NotReadyError(Exception):
    """A server did not come up; the text ends with its log."""


class Running:
    """One server at work.

    Args:
        peer: which.
        told: what it is told, see `job.config`; port and folders are added here.
    """

    def __init__(self, peer: Peer, told: Told) -> None:
        self.peer = peer
        self.port = _free_port()
        self._work = cache() / "run" / f"{peer.name}-{self.port}".replace(" ", "-")
        shutil.rmtree(self._work, ignore_errors=True)
        self.pids_folder = self._work / "pids"
        self.pids_folder.mkdir(parents=True)
        self.told = {
            **told, "peer": peer.name.lower().replace(" ", "-"), "port": self.port,
            "work": str(self._work), "pids": str(self.pids_folder),
        }  # fmt: skip
        self.log = self._work / "log"
        config = self._work / "config.json"
        config.write_text(json.dumps(self.told), "utf-8")
        environment = {
            **os.environ,
            "PEERS_CONFIG": str(config),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'service'}",
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [peer.python(), *peer.command(self.told)],
                cwd=self._work, env=environment, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def wait_ready(self, raw: bytes) -> None:
        """Wait until it is ready and answered one request.

        Raises:
            NotReadyError: it did not, in three minutes.
        """
        end_s = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < end_s and self.process.poll() is None:
            if self.ready() == 200:
                status, content, _ = self.ask(raw)
                if status == 200:
                    return
                if status == 500:
                    raise NotReadyError(f"{self.peer.name}: {content[-500:]!r}")
            time.sleep(0.1)
        raise NotReadyError(f"{self.peer.name}: {self.log.read_text('utf-8')[-3000:]}")

    def ask(self, raw: bytes, timeout_s: float = 60) -> tuple[int, bytes, dict[str, str]]:
        """Post the job; return status, body, headers; status 0 = no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            path, headers = self.peer.path(self.told), self.peer.headers(raw)
            connection.request("POST", path, self.peer.body(raw), headers)
            response = connection.getresponse()
            content = response.read()
            return response.status, content, {k.lower(): v for k, v in response.getheaders()}
        except (OSError, http.client.HTTPException):
            return 0, b"", {}
        finally:
            connection.close()

    def status(self, path: str, timeout_s: float = 2) -> int:
        """Return the status of a page; 0 = no answer in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def ready(self) -> int:
        """Return the status of its readiness."""
        return self.status(self.peer.ready_path)

    def workers(self) -> list[int]:
        """Return the processes that hold a model."""
        tree = set(self.tree())
        return [int(path.name) for path in self.pids_folder.iterdir() if int(path.name) in tree]

    def tree(self) -> list[int]:
        """Return all its processes: descendants, and whoever shares its session."""
        parents: dict[int, int] = {}
        sessions: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            fields = _stat(stat)
            if fields is not None and fields[0] != "Z":
                pid = int(stat.parent.name)
                parents[pid], sessions[pid] = int(fields[1]), int(fields[3])
        tree = {pid for pid, session in sessions.items() if session == self.process.pid}
        more = True
        while more:
            children = {pid for pid, parent in parents.items() if parent in tree} - tree
            tree |= children
            more = bool(children)
        return sorted(tree)

    def cpu_s(self) -> float:
        """Return the CPU seconds of all its processes, with those of children that ended."""
        total = 0.0
        for pid in self.tree():
            fields = _stat(Path(f"/proc/{pid}/stat"))
            if fields is not None:
                total += sum(int(each) for each in fields[11:15]) * _TICK_S
        return total

    def memory_mb(self) -> float:
        """Return its resident memory in MB; pages that processes share count once."""
        total_kb = 0
        for pid in self.tree():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
            except OSError:
                continue
            total_kb += int(text.partition("\nPss:")[2].split()[0])
        return total_kb / 1024

    def freeze(self) -> None:
        """Stop it while another server is measured."""
        if self.peer.may_stop:
            _signal(self.tree(), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        if self.peer.may_stop:
            _signal(self.tree(), signal.SIGCONT)

    def stop(self) -> None:
        """End it: SIGTERM, and what is left after ten seconds."""
        self.thaw()
        tree = self.tree()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        _signal([*tree, *self.tree()], signal.SIGKILL)
        self.process.wait()


def _stat(path: Path) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on."""
    try:
        return path.read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return None


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment_facts() -> dict[str, Any]:
    """Return what the figures depend on beside the servers."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return {
        "cpu": models[0] if models else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "kernel": os.uname().release,
        "python": ".".join(map(str, sys.version_info[:3])),
        "generator": " ".join(wrk.stdout.split()[:2]),
        "load_average": os.getloadavg()[0],
    }
