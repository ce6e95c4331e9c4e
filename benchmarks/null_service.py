"""The real service over a model that answers at once: what is left is what serving itself costs.

    python benchmarks/null_service.py --members 10

Everything is as in `v2vpose serve` (front ends, pipeline, scheduler, worker processes, shared
memory), but the members return the reference point instead of running nets. Prints the two ports,
serves until it is signalled.
"""

import argparse
import asyncio
import json
import signal
import tempfile
from pathlib import Path

import uvloop
from null_model import null_engine, write_null_store

from v2vpose.app import Service, build, configure_logging
from v2vpose.settings import Settings


async def _serve(service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    running = asyncio.create_task(service.run())
    await service.ready.wait()
    print(json.dumps({"http": service.http_port, "grpc": service.grpc_port}), flush=True)
    await running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--max-batch-size", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        write_null_store(Path(store), members=args.members)
        settings = Settings.read(
            {}, model_store=Path(store), host="127.0.0.1", http_port=0, grpc_port=0,
            max_batch_size=args.max_batch_size, drain_delay_s=0.0,
        )  # fmt: skip
        configure_logging(settings.log_level, "json")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(build(settings, engine=null_engine)))


if __name__ == "__main__":
    main()
