"""BentoML: HTTP runs in the model's process; a positional-only `bytes` is the raw body."""

from typing import Annotated

import bentoml
import orjson
from bentoml.validators import ContentType

from benchmarks.peers.job import Job, config

TOLD = config()
Json = Annotated[bytes, ContentType("application/json")]


@bentoml.service(
    workers=TOLD["workers"], traffic={"timeout": 60, "max_concurrency": TOLD["capacity"]}
)
class Estimate:
    """The model's process."""

    def __init__(self) -> None:
        self.job = Job(TOLD)

    def _answer(self, body: bytes) -> bytes:
        keypoints = self.job([body])[0]
        return orjson.dumps({"keypoints_mm": keypoints}, option=orjson.OPT_SERIALIZE_NUMPY)

    if TOLD["kind"] == "null":

        @bentoml.api(route="/estimate")
        async def estimate(self, body: bytes, /) -> Json:
            return self._answer(body)

    else:  # in its thread pool, so that the loop stays free

        @bentoml.api(route="/estimate")
        def estimate(self, body: bytes, /) -> Json:
            return self._answer(body)
