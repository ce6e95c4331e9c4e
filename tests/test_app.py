"""The service's life, on real ports with a small engine; and the wiring."""

import asyncio
import contextlib
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.api.conftest import parts
from tests.api.decode.makers import png
from tests.api.fakes import FakePipeline
from tests.stores import write_tiny_store
from v2vpose.api.decode import Limits
from v2vpose.api.http_server import HttpServer
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.api.rest import RestApp
from v2vpose.api.rpc_server import RpcServer
from v2vpose.app import Service, build, configure_logging, models_to_serve, without_echo
from v2vpose.errors import InvalidFieldError, InvalidModelError
from v2vpose.model_store import ModelStore
from v2vpose.settings import Settings

CAMERA = {"fx_px": 240.0, "fy_px": 241.0, "cx_px": 160.0, "cy_px": 120.0}
PNG = png(np.full((24, 32), 500, np.uint16))


class FakeEngine(FakePipeline):
    """A pipeline that also starts and stops, and says in which order it was told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.told: list[str] = []
        self.failure = failure
        self.ready = False

    async def start(self) -> None:
        self.told.append("start")
        if self.failure is not None:
            raise self.failure
        self.ready = True

    def begin_drain(self) -> None:
        self.told.append("begin_drain")
        self.ready = False

    async def stop(self, *, grace_s: float) -> None:
        self.told.append(f"stop, {'no' if grace_s == 0 else 'some'} grace")


def service(engine: FakeEngine, **more: Any) -> Service:
    wire = parts(
        engine,
        timeout_s=more.pop("timeout_s", 30.0),
        limits=Limits(max_body_bytes=100_000, max_pixels=100_000),
    )
    return Service(
        engine=engine,
        http=HttpServer(RestApp(wire), host="127.0.0.1", port=more.pop("http_port", 0)),
        rpc=RpcServer(wire, min_peak=0.3, host="127.0.0.1", port=0),
        **{"drain_delay_s": 0.0, "drain_grace_s": 10.0, **more},
    )


@asynccontextmanager
async def running(made: Service) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.Task[None]]]:
    run = asyncio.create_task(made.run())
    await asyncio.wait_for(made.listening.wait(), 20)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{made.http_port}") as client:
        yield client, run
    if not run.done():
        made.stop()
        made.stop()
        await asyncio.wait_for(run, 20)


async def estimate(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    request = {"content": PNG, "headers": {"content-type": "image/png"}, **more}
    return await client.post("/v1/estimate", params=CAMERA, timeout=20, **request)


async def test_rest_and_grpc_answer_from_one_engine() -> None:
    made = service(FakeEngine())
    async with running(made) as (client, _):
        rest = (await estimate(client)).json()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{made.grpc_port}") as channel:
            stub = PoseEstimationStub(channel)
            answer = await stub.Estimate(
                pb.EstimateRequest(
                    depth=pb.DepthMap(data=PNG, encoding=pb.ENCODING_PNG16),
                    options=pb.EstimateOptions(intrinsics=pb.Intrinsics(**CAMERA)),
                )
            )
    assert [k.x_mm for k in answer.pose.keypoints] == [k["x_mm"] for k in rest["keypoints"]]


async def test_a_drain_is_told_first_and_finishes_what_was_accepted() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Event()
    made = service(engine, drain_delay_s=0.3)
    async with running(made) as (client, run):
        accepted = asyncio.create_task(estimate(client))
        await asyncio.wait_for(engine.started.wait(), 10)
        made.stop()
        assert (await client.get("/readyz")).status_code == 503  # not ready, still accepting
        late = asyncio.create_task(estimate(client))
        await asyncio.sleep(0.6)  # the delay is over: nobody new gets in
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient().get(f"http://127.0.0.1:{made.http_port}/healthz")
        assert not run.done()
        engine.gate.set()
        assert [(await task).status_code for task in (accepted, late)] == [200, 200]
        await asyncio.wait_for(run, 10)
    assert engine.told == ["start", "begin_drain", "stop, some grace"]


async def test_a_second_signal_means_now() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Event()
    made = service(engine, drain_delay_s=60, drain_grace_s=60)
    async with running(made) as (client, run):
        stuck = asyncio.create_task(estimate(client))
        await asyncio.wait_for(engine.started.wait(), 10)
        made.stop()
        made.stop()
        await asyncio.wait_for(run, 10)
        with contextlib.suppress(httpx.HTTPError):
            await stuck
    assert engine.told == ["start", "begin_drain", "stop, no grace"]


def test_the_echo_of_a_signal_is_no_second_signal() -> None:
    heard: list[float] = []
    now_s = 10.0
    stop = without_echo(lambda: heard.append(now_s), lambda: now_s)
    for now_s in (10.0, 10.01, 10.49, 10.6, 10.7, 20.0):  # noqa: B007  # the clock reads it
        stop()
    assert heard == [10.0, 10.6, 20.0]


async def test_the_grace_ends_even_if_a_request_does_not() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Event()
    made = service(engine, drain_grace_s=0.2)
    async with running(made) as (client, run):
        stuck = asyncio.create_task(estimate(client))
        await asyncio.wait_for(engine.started.wait(), 10)
        made.stop()
        await asyncio.wait_for(run, 10)
        with contextlib.suppress(httpx.HTTPError):
            await stuck


async def test_an_engine_that_cannot_start_ends_the_service_with_its_reason() -> None:
    engine = FakeEngine(InvalidModelError("epoch-01.safetensors: expected sha256 a, found b"))
    with pytest.raises(InvalidModelError, match="expected sha256 a, found b"):
        await asyncio.wait_for(service(engine).run(), 20)


async def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidFieldError, match=f"cannot listen on 127.0.0.1:{port}: Address"):
            await service(FakeEngine(), http_port=port).run()


async def test_a_caller_who_hangs_up_cancels_the_work() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Event()
    async with running(service(engine)) as (client, _):
        leaver = asyncio.create_task(estimate(client))
        await asyncio.wait_for(engine.started.wait(), 10)
        leaver.cancel()
        async with asyncio.timeout(10):
            while not engine.cancelled:  # noqa: ASYNC110  # the server has no event to wait on
                await asyncio.sleep(0.005)
        text = (await client.get("/metrics")).text
    assert 'v2vpose_requests_total{code="cancelled",route="estimate"} 1.0' in text


async def test_a_body_is_refused_while_it_is_still_coming() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(10_000)

    async with running(service(FakeEngine())) as (client, _):
        response = await estimate(client, content=endless())
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")


async def test_a_body_that_comes_too_slowly_misses_the_deadline() -> None:
    never = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PNG[:10]
        await never.wait()

    async with running(service(FakeEngine(), timeout_s=0.2)) as (client, _):
        upload = asyncio.create_task(estimate(client, content=slow()))
        with contextlib.suppress(httpx.HTTPError):
            await asyncio.wait([upload], timeout=1.0)
        text = (await client.get("/metrics")).text
        upload.cancel()
    assert 'v2vpose_requests_total{code="deadline_exceeded",route="estimate"} 1.0' in text


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_tiny_store(tmp_path, model="hand", epochs=1)
    write_tiny_store(tmp_path, model="body", epochs=1)
    return tmp_path


def test_hand_is_served_or_the_models_that_are_named_in_their_order(store: Path) -> None:
    opened = ModelStore(store)
    assert list(models_to_serve((), opened).items()) == [("hand", None)]
    named = models_to_serve(("hand", "body@1"), opened)
    assert list(named.items()) == [("hand", None), ("body", "1")]


def test_all_models_of_a_store_without_hand_are_served(tmp_path: Path) -> None:
    write_tiny_store(tmp_path, model="foot", epochs=1)
    write_tiny_store(tmp_path, model="body", epochs=1)
    served = models_to_serve((), ModelStore(tmp_path))
    assert list(served.items()) == [("body", None), ("foot", None)]


def test_build_reads_the_store_but_starts_nothing(store: Path) -> None:
    made = build(Settings.read({}, model_store=store))
    assert not made.listening.is_set()


def test_a_store_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match="no models in"):
        build(Settings.read({}, model_store=tmp_path))


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = kept, level


def test_logs_are_json_lines_or_text(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("warning", "json")
    root_logger.info("quiet")
    root_logger.warning("loud", extra={"why": 1})
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["level"], line["why"]) == ("loud", "warning", 1)
    configure_logging("info", "text")
    root_logger.info("plain")
    assert capsys.readouterr().err.endswith("INFO    plain\n")


def test_the_ray_engine_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_store(tmp_path, epochs=1)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "v2vpose.serving.engines.ray_cluster", raising=False)
    settings = Settings.read({}, model_store=tmp_path, engine="ray")
    with pytest.raises(InvalidFieldError, match=r"pip install 'v2vpose\[ray\]'"):
        build(settings)
