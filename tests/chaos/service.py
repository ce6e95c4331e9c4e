"""The real service over telltale members; its settings come from the environment.

    V2VPOSE_MODEL_STORE=... python -m tests.chaos.service --wait-s 0.02

Prints its two ports once it is ready; on SIGUSR1, what only the process itself knows: the number of
its tasks and the state of its workers. Ends as `v2vpose serve` does.
"""

import argparse
import asyncio
import json
import signal
from dataclasses import asdict
from functools import partial

import uvloop

from tests.chaos.members import load_telltale
from v2vpose.app import Service, build, configure_logging, without_echo
from v2vpose.model_store import ModelVersion
from v2vpose.serving.engines.local import LocalEngine
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.self_test import SelfTest, synthetic_crop
from v2vpose.settings import Settings


class Engines:
    """Makes the engine of a version: every member in a process of its own."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._made: list[LocalEngine] = []

    def __call__(self, version: ModelVersion, *, max_batch_size: int) -> LocalEngine:
        args, manifest = self._args, version.manifest
        weights = version if args.read_weights else None
        engine = LocalEngine(
            name=f"telltale/{manifest.version}",
            plans=[
                WorkerPlan(replica, (epoch,))
                for replica in range(args.replicas)
                for epoch in manifest.epoch_numbers
            ],
            load=partial(load_telltale, int(manifest.version), args.wait_s, weights),
            self_test=SelfTest(synthetic_crop(manifest.side_mm)),
            max_batch_size=max_batch_size,
            patience=Patience(late_s=args.late_s, hung_s=args.hung_s),
            back_off=BackOff(first_s=0.01, most_s=0.1),
        )
        self._made.append(engine)
        return engine

    def report(self) -> None:
        workers = [asdict(worker) for worker in self._made[-1].workers()]
        print(json.dumps({"tasks": len(asyncio.all_tasks()), "workers": workers}), flush=True)


async def _serve(service: Service, engines: Engines) -> None:
    loop = asyncio.get_running_loop()
    stop = without_echo(service.stop, loop.time)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGUSR1, engines.report)
    running = asyncio.create_task(service.run())
    await service.ready.wait()
    print(json.dumps({"http": service.http_port, "grpc": service.grpc_port}), flush=True)
    await running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--wait-s", type=float, default=0.0, help="what a batch takes")
    parser.add_argument("--late-s", type=float, default=Patience().late_s)
    parser.add_argument("--hung-s", type=float, default=Patience().hung_s)
    parser.add_argument("--read-weights", action="store_true", help="and check them")
    args = parser.parse_args()
    settings = Settings.read(host="127.0.0.1", http_port=0, grpc_port=0)
    configure_logging(settings.log_level, "json")
    engines = Engines(args)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(build(settings, engine=engines), engines))


if __name__ == "__main__":
    main()
