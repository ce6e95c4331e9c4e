"""Ray Serve: its proxy, and replicas that take the raw body."""

import asyncio
import signal
import threading

import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.job import Job, config

TOLD = config()
QUIET = {"enable_access_log": False, "log_level": "WARNING"}


@serve.deployment(
    num_replicas=TOLD["workers"],
    max_ongoing_requests=TOLD["ongoing"],
    max_queued_requests=TOLD["capacity"],
    ray_actor_options={"num_cpus": 0},
    logging_config=QUIET,
)
class Estimate:
    """The model's process."""

    def __init__(self) -> None:
        self.job = Job(TOLD)
        self.turn = asyncio.Lock()

    @serve.batch(max_batch_size=TOLD["batch"], batch_wait_timeout_s=0)
    async def batched(self, bodies):
        return list(await asyncio.to_thread(self.job, bodies))

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        if TOLD["kind"] == "null":
            keypoints = self.job([body])[0]
        elif TOLD["batch"] > 1:
            keypoints = await self.batched(body)
        else:
            async with self.turn:
                keypoints = (await asyncio.to_thread(self.job, [body]))[0]
        text = orjson.dumps({"keypoints_mm": keypoints}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(text, media_type="application/json")


if __name__ == "__main__":
    ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": TOLD["port"]}, logging_config=QUIET)
    serve.run(Estimate.bind(), route_prefix="/estimate")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()
