"""v2vpose as `v2vpose serve` runs it; for a null or slow model its workers hold null members.

The engine, the workers' processes, the shared memory and the REST front end are the real ones.
"""

import asyncio
import signal
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.peers.job import config
from benchmarks.peers.null_member import LoadNullMember
from v2vpose.app import build, configure_logging, serve
from v2vpose.model_store import ModelVersion
from v2vpose.serving.engines.local import LocalEngine
from v2vpose.serving.engines.placement import automatic, available_cores
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.self_test import SelfTest, synthetic_crop
from v2vpose.settings import Settings


def null_engine(
    version: ModelVersion, *, load: LoadNullMember, replicas: int, max_batch_size: int
) -> LocalEngine:
    """Return the local engine with null members in place of the version's checkpoints."""
    manifest = version.manifest
    return LocalEngine(
        name=f"null/{manifest.version}",
        plans=automatic(manifest.epoch_numbers, cores=available_cores(), replicas=replicas),
        load=load,
        self_test=SelfTest(synthetic_crop(manifest.side_mm)),
        max_batch_size=max_batch_size,
        patience=Patience(),
        back_off=BackOff(),
    )


async def serve_null(settings: Settings, load: LoadNullMember) -> None:
    """Serve as `v2vpose serve` does, with null members."""
    service = build(settings, partial(null_engine, load=load, replicas=settings.replicas))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, service.stop)
    await service.run()


def main() -> None:
    """Serve until SIGTERM."""
    told = config()
    settings = Settings.read(
        http_port=told["port"],
        grpc_port=0,
        model_store=Path(told["store"]),
        backend=told["backend"],
        max_queue_size=told["capacity"],
        max_batch_size=told["batch"],
        replicas=told["workers"],
        request_timeout_s=60.0,
        log_level="warning",
    )
    if told["kind"] == "hand":
        serve(settings)
        return
    configure_logging(settings.log_level, settings.log_format)
    load = LoadNullMember(told["slow_s"] if told["kind"] == "slow" else 0.0, told["pids"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_null(settings, load))


if __name__ == "__main__":
    main()
