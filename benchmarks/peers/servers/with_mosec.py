"""mosec: its own Rust front end, one stage, raw body."""

import orjson
from mosec import Server, Worker

from benchmarks.peers.job import Job, config

TOLD = config()


class Estimate(Worker):
    """The model's process."""

    def __init__(self) -> None:
        self.job = Job(TOLD)

    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: object) -> bytes:
        return orjson.dumps({"keypoints_mm": data}, option=orjson.OPT_SERIALIZE_NUMPY)

    def forward(self, data):
        return list(self.job(data)) if TOLD["batch"] > 1 else self.job([data])[0]


if __name__ == "__main__":
    server = Server()
    batch = {"max_batch_size": TOLD["batch"], "max_wait_time": 1} if TOLD["batch"] > 1 else {}
    server.append_worker(Estimate, num=TOLD["workers"], **batch)
    server.run()
