"""The floor under any Python service: uvicorn reads the body and writes 21 keypoints, no more.

    python benchmarks/bare_asgi.py

Prints its port and serves until it is signalled.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
import uvicorn
import uvloop

KEYPOINTS_MM = np.zeros((21, 3))


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    assert scope["type"] == "http"
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message["body"])
        more = message["more_body"]
    np.frombuffer(b"".join(pieces), "<u2")
    answer = orjson.dumps({"keypoints_mm": KEYPOINTS_MM}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
    )
    print(json.dumps({"http": listener.getsockname()[1]}), flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
