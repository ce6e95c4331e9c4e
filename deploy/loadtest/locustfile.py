"""Load that does not wait for the service: REST, gRPC unary, gRPC streams at 30 frames a second.

    locust -f deploy/loadtest/locustfile.py --headless -u 20 -r 20 -t 60s RestUser

Arrivals are on a fixed clock, however slow the answers (an open loop): every RestUser and RpcUser
sends one request a second, every StreamRobot is one camera. A latency counts from the instant the
request was due. What the service refuses with a "try again" (429, RESOURCE_EXHAUSTED) is counted
as `refused` and is no failure; everything else that is not a pose is one. Frames that a stream
skips for newer ones are counted in the log. BusyCaller is the exception: it asks again as soon as
it is answered, which tells how much the service can serve.

Environment: REST_URL, GRPC_TARGET, V2VPOSE_API_KEY, FRAMES (how many different ones),
P99_MS (the objective; 500), MAX_REFUSED (the largest share of refusals; 0),
SAMPLES (a file to write every answer and skipped frame into, as CSV; default: none).
The exit code is 1 after a failure, a missed objective or too many refusals.
"""

import csv
import itertools
import logging
import os
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gevent
import grpc
import grpc.experimental.gevent
from frames import EncodedFrame, encoded_frames
from geventhttpclient import HTTPClient
from locust import User, events, task
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING

from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub

grpc.experimental.gevent.init_gevent()

REST_URL = os.environ.get("REST_URL", "http://127.0.0.1:8000")
GRPC_TARGET = os.environ.get("GRPC_TARGET", "127.0.0.1:50051")
API_KEY = os.environ.get("V2VPOSE_API_KEY")
P99_MS = float(os.environ.get("P99_MS", "500"))
MAX_REFUSED = float(os.environ.get("MAX_REFUSED", "0"))
SAMPLES = os.environ.get("SAMPLES")
KEY = {} if API_KEY is None else {"x-api-key": API_KEY}
TIMEOUT_S = 30.0
PERIOD_S = 1.0
FRAME_PERIOD_S = 1 / 30
REFUSED = "refused"
SKIPPED = "skipped"

_GOLDEN = 0.618034  # phases k * golden modulo 1 are spread evenly, for any number of users
_log = logging.getLogger("loadtest")
_frames: list[EncodedFrame] = []
_users = itertools.count()
_samples: list[tuple[float, str, str, float, str]] = []


@events.init.add_listener
def _generate(environment: Environment, **_: Any) -> None:
    del environment
    _frames.extend(encoded_frames())
    gevent.get_hub().loop.update_now()  # or the run's time would count from before that
    _log.info("%d frames generated", len(_frames))


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    """Set the exit code, and say why."""
    entries = environment.stats.entries
    verdicts = [f"{e.occurrences} x {e.name}: {e.error}" for e in environment.stats.errors.values()]
    sent = sum(entry.num_requests for entry in entries.values())
    refused = sum(entry.num_requests for (name, _), entry in entries.items() if name == REFUSED)
    for (name, method), entry in entries.items():
        p99_ms = entry.get_response_time_percentile(0.99)
        if name != REFUSED and p99_ms > P99_MS:
            verdicts.append(f"{method} {name}: p99 {p99_ms:.0f} ms, the objective is {P99_MS:.0f}")
    if sent == 0:
        verdicts.append("nothing was answered")
    elif refused > MAX_REFUSED * sent:
        verdicts.append(f"{refused} of {sent} refused, at most {MAX_REFUSED:.0%} may be")
    for verdict in verdicts:
        _log.error(verdict)
    environment.process_exit_code = 1 if verdicts else 0


@events.quit.add_listener
def _write_samples(**_: Any) -> None:
    """Write every answer: seconds when it was due, how it was asked, how it ended."""
    if SAMPLES is not None:
        with Path(SAMPLES).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("due_s", "method", "name", "latency_ms", "error"))
            rows.writerows(sorted(_samples))


class _OpenLoopUser(User):
    """Sends on a clock of its own; `send` does one request and tells how it ended."""

    abstract = True

    def on_start(self) -> None:
        """Start the clock at a phase of its own."""
        self._due_s = time.perf_counter() + PERIOD_S * (next(_users) * _GOLDEN % 1)
        self._frames = itertools.cycle(_frames)
        self._on_the_way = gevent.pool.Group()
        gevent.sleep(self._due_s - time.perf_counter())

    @task
    def arrive(self) -> None:
        """Do what the clock says."""
        self.ask()

    def ask(self) -> None:
        """Send the request that is due, and wait for nothing."""
        self._on_the_way.spawn(self.send, next(self._frames), self._due_s)
        self._due_s += PERIOD_S

    def wait_time(self) -> float:
        """Return seconds until the next request is due."""
        return max(self._due_s - time.perf_counter(), 0)

    def on_stop(self) -> None:
        """Wait for what is on the way."""
        self._on_the_way.join(TIMEOUT_S)

    def send(self, frame: EncodedFrame, due_s: float) -> None:
        raise NotImplementedError


class RestUser(_OpenLoopUser):
    """Posts one PNG a second."""

    def on_start(self) -> None:
        """Connect."""
        self._http = HTTPClient.from_url(
            REST_URL, concurrency=64, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S
        )
        super().on_start()

    def send(self, frame: EncodedFrame, due_s: float) -> None:
        """Post a frame."""
        name, error = "estimate", None
        try:
            answer = self._http.post(
                f"/v1/estimate?{urlencode(frame.query)}",
                body=frame.png,
                headers={"content-type": "image/png", **KEY},
            )
            body = bytes(answer.read())
            if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS and answer.get("retry-after"):
                name = REFUSED
            elif answer.status_code != HTTPStatus.OK:
                error = f"{answer.status_code} {body[:200]!r}"
        except Exception as failure:  # noqa: BLE001  # whatever it is, it is no answer
            error = repr(failure)
        tell(self.environment, "REST", name, due_s, error)


class BusyCaller(RestUser):
    """Posts the next PNG as soon as the last one is answered."""

    def ask(self) -> None:
        """Send, and wait for the answer."""
        self.send(next(self._frames), time.perf_counter())

    def wait_time(self) -> float:
        """Return no time."""
        return 0


class RpcUser(_OpenLoopUser):
    """Asks for one estimate a second."""

    def on_start(self) -> None:
        """Connect."""
        self._channel = grpc.insecure_channel(GRPC_TARGET)
        self._stub = PoseEstimationStub(self._channel)
        super().on_start()

    def on_stop(self) -> None:
        """Wait for what is on the way, then hang up."""
        super().on_stop()
        self._channel.close()

    def send(self, frame: EncodedFrame, due_s: float) -> None:
        """Ask for a frame's pose."""
        name, error = "rpc_estimate", None
        request = pb.EstimateRequest(depth=frame.depth, options=frame.options)
        try:
            self._stub.Estimate(request, timeout=TIMEOUT_S, metadata=tuple(KEY.items()))
        except grpc.RpcError as failure:
            if failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                name = REFUSED
            else:
                error = f"{failure.code().name} {failure.details()}"
        tell(self.environment, "gRPC", name, due_s, error)


class StreamRobot(User):
    """A robot with one camera: 30 frames a second, newer frames replace those that wait."""

    def on_start(self) -> None:
        """Connect."""
        self._channel = grpc.insecure_channel(GRPC_TARGET)
        self._stub = PoseEstimationStub(self._channel)

    @task
    def session(self) -> None:
        """Keep a stream open until locust stops; reopen it if the service ends it."""
        due_s: dict[int, float] = {}
        frame = _frames[next(_users) % len(_frames)]
        call = self._stub.EstimateStream(_camera(frame, due_s), metadata=tuple(KEY.items()))
        answered = -1
        try:
            for answer in call:
                answered = answer.sequence
                failed = answer.WhichOneof("result") == "error"
                refused = failed and answer.error.is_retryable
                name = REFUSED if refused else "rpc_stream_frame"
                error = answer.error.code if failed and not refused else None
                tell(self.environment, "stream", name, due_s.pop(answer.sequence), error)
                if self.environment.runner.state not in {STATE_SPAWNING, STATE_RUNNING}:
                    break
        except grpc.RpcError as failure:
            error = f"{failure.code().name} {failure.details()}"
            tell(self.environment, "stream", "rpc_stream", time.perf_counter(), error)
            gevent.sleep(PERIOD_S)
        finally:
            call.cancel()
            skipped = [due for sequence, due in due_s.items() if sequence < answered]
            _samples.extend((due, "stream", SKIPPED, 0.0, "") for due in skipped)
            _log.info("stream: %d frames skipped, the last answered is %d", len(skipped), answered)

    def on_stop(self) -> None:
        """Hang up."""
        self._channel.close()


def _camera(frame: EncodedFrame, due_s: dict[int, float]) -> Iterator[pb.EstimateStreamRequest]:
    """Yield a stream's start, then a frame at every tick; write down when each was due."""
    yield pb.EstimateStreamRequest(start=pb.StreamStart(options=frame.options))
    start_s = time.perf_counter()
    for sequence in itertools.count():
        due_s[sequence] = start_s + sequence * FRAME_PERIOD_S
        gevent.sleep(max(due_s[sequence] - time.perf_counter(), 0))
        yield pb.EstimateStreamRequest(
            frame=pb.Frame(sequence=sequence, capture_time_ns=time.time_ns(), depth=frame.depth)
        )


def tell(environment: Environment, method: str, name: str, due_s: float, error: str | None) -> None:
    """Record one answer."""
    latency_ms = 1000 * (time.perf_counter() - due_s)
    _samples.append((due_s, method, name, latency_ms, error or ""))
    environment.events.request.fire(
        request_type=method,
        name=name,
        response_time=latency_ms,
        response_length=0,
        exception=None if error is None else RuntimeError(error),
        context={},
    )
