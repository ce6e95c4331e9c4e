"""A REST interface over a fake pipeline, without sockets."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client import CollectorRegistry

from tests.api.fakes import FakePipeline
from v2vpose.api.access import Keys
from v2vpose.api.decode import Limits
from v2vpose.api.inflight import InflightBytes
from v2vpose.api.offload import Offload
from v2vpose.api.parts import WireParts
from v2vpose.api.rest import RestApp
from v2vpose.telemetry import Telemetry


@dataclass
class Rest:
    """The application, what it is made of, and a client of it."""

    pipeline: FakePipeline
    app: RestApp
    client: httpx.AsyncClient
    made: list[httpx.AsyncClient] = field(default_factory=list)

    def with_keys(self, api_key: str | None, admin_key: str | None) -> httpx.AsyncClient:
        """A client of the same pipeline behind keys."""
        app = RestApp(parts(self.pipeline, keys=Keys(api_key, admin_key)))
        client = client_of(app)
        self.made.append(client)
        return client


def parts(
    pipeline: FakePipeline,
    *,
    keys: Keys = Keys(None, None),  # noqa: B008  # immutable
    timeout_s: float = 30.0,
    limits: Limits = Limits(max_body_bytes=100_000, max_pixels=100_000),  # noqa: B008
    max_inflight_bytes: int = 10**9,
) -> WireParts:
    return WireParts(
        pipeline=pipeline,
        telemetry=Telemetry(CollectorRegistry()),
        keys=keys,
        limits=limits,
        inflight=InflightBytes(max_inflight_bytes),
        offload=Offload(threads=1, max_waiting=8),
        timeout_s=timeout_s,
    )


def client_of(app: RestApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    pipeline = FakePipeline()
    app = RestApp(parts(pipeline))
    made = Rest(pipeline, app, client_of(app))
    yield made
    for client in (made.client, *made.made):
        await client.aclose()
