"""Ask a service through the unmodified tritonclient, four ways, and print the answers as JSON.

    python tests/e2e/tritonclient_calls.py DEPTH.npy HTTP_ADDRESS GRPC_ADDRESS

In a process of its own: it registers the protocol's messages under the names that our stubs have.
"""

import asyncio
import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio


def inputs(module: Any, depth: Any, camera: Any) -> list[Any]:
    kind = "UINT16" if depth.dtype == np.uint16 else "FP32"
    tensors = [
        module.InferInput("depth", list(depth.shape), kind),
        module.InferInput("intrinsics", [4], "FP32"),
    ]
    for tensor, values in zip(tensors, (depth, camera), strict=True):
        tensor.set_data_from_numpy(values)
    return tensors


def told(result: Any) -> dict[str, Any]:
    response = result.get_response()
    return {
        "id": response["id"] if isinstance(response, dict) else response.id,
        "keypoints_mm": result.as_numpy("keypoints_mm").tolist(),
        "confidence": result.as_numpy("confidence").tolist(),
    }


def sync_calls(module: Any, address: str, depth: Any, camera: Any) -> dict[str, Any]:
    client = module.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("hand")
    assert client.is_model_ready("hand", "1")
    metadata = client.get_model_metadata("hand")
    names = metadata["inputs"] if isinstance(metadata, dict) else metadata.inputs
    assert len(names) == 2
    assert client.get_server_metadata() is not None
    answer = told(client.infer("hand", inputs(module, depth, camera), request_id="sync"))
    try:
        client.infer("foot", inputs(module, depth, camera))
    except Exception as error:  # noqa: BLE001  # whichever class it is, its text is wanted
        answer["error"] = str(error)
    return answer


async def aio_calls(module: Any, plain: Any, address: str, depth: Any, camera: Any) -> Any:
    client = module.InferenceServerClient(address)
    try:
        assert await client.is_server_ready()
        return told(await client.infer("hand", inputs(plain, depth, camera), request_id="aio"))
    finally:
        await client.close()


def json_call(address: str, depth: Any, camera: Any) -> dict[str, Any]:
    client = triton_http.InferenceServerClient(address)
    tensors = [
        triton_http.InferInput("depth", list(depth.shape), "UINT16"),
        triton_http.InferInput("intrinsics", [4], "FP32"),
    ]
    wanted = [
        triton_http.InferRequestedOutput(name, binary_data=False)
        for name in ("keypoints_mm", "confidence")
    ]
    for tensor, values in zip(tensors, (depth, camera), strict=True):
        tensor.set_data_from_numpy(values, binary_data=False)
    return told(client.infer("hand", tensors, outputs=wanted, request_id="json"))


def stream_call(address: str, depth: Any, camera: Any) -> dict[str, Any]:
    client = triton_grpc.InferenceServerClient(address)
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result))
    client.async_stream_infer("hand", inputs(triton_grpc, depth, camera), request_id="stream")
    answer = told(answers.get(timeout=60))
    client.stop_stream()
    return answer


def main(depth_file: str, http: str, grpc: str) -> None:
    depth = np.load(depth_file)
    camera = np.array(json.loads(sys.argv[4]), np.float32)
    answers = {
        "http": sync_calls(triton_http, http, depth, camera),
        "http, FP32": sync_calls(triton_http, http, depth.astype(np.float32), camera),
        "http, JSON": json_call(http, depth, camera),
        "http.aio": asyncio.run(aio_calls(triton_http_aio, triton_http, http, depth, camera)),
        "grpc": sync_calls(triton_grpc, grpc, depth, camera),
        "grpc.aio": asyncio.run(aio_calls(triton_grpc_aio, triton_grpc, grpc, depth, camera)),
        "grpc stream": stream_call(grpc, depth, camera),
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:4])
