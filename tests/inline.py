"""The real service in the test's own process: everything but worker processes is as it is served.

Members run where the event loop runs, so nothing has to be started and waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from v2vpose.app import Service, build
from v2vpose.member import load_member
from v2vpose.model_store import ModelVersion
from v2vpose.serving.ports import Batch, Listener, MemberReply, MemberState, WorkerHealth
from v2vpose.settings import Settings


class InlineEngine:
    """The members of a model version on torch, without processes; always up."""

    def __init__(self, version: ModelVersion, *, max_batch_size: int) -> None:
        del max_batch_size  # batches of any size are taken
        epochs = version.manifest.epoch_numbers
        self._members = {e: load_member(version, e, backend="torch") for e in epochs}

    @property
    def replicas(self) -> int:
        return 1

    async def start(self) -> None:
        pass

    async def stop(self, *, grace_s: float) -> None:
        pass

    def states(self, replica: int) -> Mapping[int, MemberState]:  # noqa: ARG002
        return dict.fromkeys(self._members, MemberState.UP)

    def on_change(self, notify: Callable[[], None]) -> None:
        pass

    def workers(self) -> Sequence[WorkerHealth]:
        return [WorkerHealth("inline", tuple(self._members), "cpu", up=True, restarts=0)]

    def submit(self, batch: Batch, replica: int, epochs: frozenset[int], to: Listener) -> None:
        del replica  # there is one
        for epoch in epochs:
            asyncio.get_running_loop().call_soon(self._work, batch, epoch, to)

    def _work(self, batch: Batch, epoch: int, to: Listener) -> None:
        rows = batch.rows_of(epoch)
        said = self._members[epoch].estimate([batch.asks[row].crop for row in rows], batch.decode)
        answers = dict(zip(rows, said.answers, strict=True))
        to.replied(epoch, MemberReply(answers, said.stage_s, worker=0))


@asynccontextmanager
async def serving(store: Path, **settings: Any) -> AsyncIterator[Service]:
    """Serve a model store on free ports of the loopback."""
    more = {"model_store": store, "http_port": 0, "grpc_port": 0, "drain_delay_s": 0.0}
    service = build(Settings.read({}, **more, **settings), engine=InlineEngine)
    run = asyncio.create_task(service.run())
    try:
        await asyncio.wait_for(service.ready.wait(), 60)
        yield service
    finally:
        service.stop()
        await run
