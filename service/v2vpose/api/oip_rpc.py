"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from v2vpose.api.access import KEY_HEADER
from v2vpose.api.oip import (
    SERVER,
    Inferred,
    InferRequest,
    Tensor,
    content_of,
    infer,
    model_metadata,
    model_ready,
)
from v2vpose.api.parts import WireParts
from v2vpose.api.pb import open_inference_pb2 as pb
from v2vpose.api.pb.open_inference_pb2_grpc import GRPCInferenceServiceServicer
from v2vpose.api.rpc_envelope import metadata_of, rpc_envelope
from v2vpose.errors import InvalidFieldError, PoseError, UnavailableError

SERVICE_NAME: Final = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


class OpenInference(GRPCInferenceServiceServicer):
    """The protocol's service.

    Args:
        parts: what it shares with the other interfaces.
    """

    def __init__(self, parts: WireParts) -> None:
        self._parts = parts
        self._draining = asyncio.Event()

    def end_streams(self) -> None:
        """End every stream after the inference it is at; open no new ones."""
        self._draining.set()

    async def ServerLive(  # noqa: N802  # the proto's names
        self, request: pb.ServerLiveRequest, context: Any
    ) -> pb.ServerLiveResponse:
        """Say that the process is alive."""
        del request, context
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802
        self, request: pb.ServerReadyRequest, context: Any
    ) -> pb.ServerReadyResponse:
        """Say whether every model is ready."""
        del request, context
        return pb.ServerReadyResponse(ready=self._parts.pipeline.ready)

    async def ModelReady(  # noqa: N802
        self, request: pb.ModelReadyRequest, context: Any
    ) -> pb.ModelReadyResponse:
        """Say whether a model is ready."""
        async with rpc_envelope(context, self._parts.telemetry, "rpc_oip_ready"):
            self._check_key(context)
            try:
                ready = model_ready(self._parts, request.name, request.version or None)
            except UnavailableError:
                ready = False
            return pb.ModelReadyResponse(ready=ready)

    async def ServerMetadata(  # noqa: N802
        self, request: pb.ServerMetadataRequest, context: Any
    ) -> pb.ServerMetadataResponse:
        """Say what the server is."""
        del request
        async with rpc_envelope(context, self._parts.telemetry, "rpc_oip_server"):
            self._check_key(context)
            return pb.ServerMetadataResponse(**SERVER)

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: Any
    ) -> pb.ModelMetadataResponse:
        """Say what a model takes and gives."""
        async with rpc_envelope(context, self._parts.telemetry, "rpc_oip_model"):
            self._check_key(context)
            manifest = self._parts.pipeline.manifest(request.name, request.version or None)
            return pb.ModelMetadataResponse(**model_metadata(manifest))

    async def ModelInfer(  # noqa: N802
        self, request: pb.ModelInferRequest, context: Any
    ) -> pb.ModelInferResponse:
        """Estimate the pose in one depth map."""
        start_s = time.monotonic()
        async with rpc_envelope(context, self._parts.telemetry, "rpc_oip_infer"):
            self._check_key(context)
            left_s, most_s = context.time_remaining(), self._parts.timeout_s
            wait_s = most_s if left_s is None else min(left_s, most_s)
            return await self._infer(request, start_s, wait_s)

    async def ModelStreamInfer(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Any
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answer inferences in turn; an error of one is told in its place."""
        async with rpc_envelope(context, self._parts.telemetry, "rpc_oip_stream"):
            self._check_key(context)
            async for request in self._until_drain(aiter(request_iterator)):
                try:
                    answer = await self._infer(request, time.monotonic(), self._parts.timeout_s)
                    yield pb.ModelStreamInferResponse(infer_response=answer)
                except PoseError as error:
                    yield pb.ModelStreamInferResponse(
                        error_message=str(error),
                        infer_response=pb.ModelInferResponse(
                            model_name=request.model_name, id=request.id
                        ),
                    )

    async def _until_drain(
        self, requests: AsyncIterator[pb.ModelInferRequest]
    ) -> AsyncIterator[pb.ModelInferRequest]:
        """Pass requests on until the caller ends, or the drain begins.

        Raises:
            UnavailableError: draining.
        """
        drain = asyncio.create_task(self._draining.wait())
        coming: asyncio.Future[pb.ModelInferRequest | None] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(anext(requests, None))
                await asyncio.wait({coming, drain}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    raise UnavailableError("draining; open the stream again")
                request = coming.result()
                if request is None:
                    return
                yield request
        finally:
            drain.cancel()
            if coming is not None:
                coming.cancel()

    async def _infer(
        self, request: pb.ModelInferRequest, start_s: float, wait_s: float
    ) -> pb.ModelInferResponse:
        size = sum(map(len, request.raw_input_contents)) or request.ByteSize()
        with self._parts.inflight.holding(size):
            inferred = await infer(self._parts, _asked(request), start_s=start_s, wait_s=wait_s)
            return _answer(inferred, request.id)

    def _check_key(self, context: Any) -> None:
        metadata = metadata_of(context)
        self._parts.keys.check(metadata.get(KEY_HEADER), metadata.get("authorization"))


def _asked(request: pb.ModelInferRequest) -> InferRequest:
    return InferRequest(
        model=request.model_name,
        version=request.model_version or None,
        parameters={name: _value(given) for name, given in request.parameters.items()},
        inputs=_tensors(request),
        outputs=[output.name for output in request.outputs],
    )


def _tensors(request: pb.ModelInferRequest) -> list[Tensor]:
    """Return the inputs with their contents: all raw, or all in the fields of their types."""
    raws: list[bytes | None] = list(request.raw_input_contents) or [None] * len(request.inputs)
    if len(raws) != len(request.inputs):
        raise InvalidFieldError(f"{len(request.inputs)} inputs, but {len(raws)} raw_input_contents")
    return [
        Tensor(
            each.name,
            each.datatype,
            tuple(each.shape),
            _typed(each) if raw is None else raw,
        )
        for each, raw in zip(request.inputs, raws, strict=True)
    ]


def _typed(tensor: pb.ModelInferRequest.InferInputTensor) -> bytes:
    contents = tensor.contents
    fields = {
        "UINT16": contents.uint_contents,
        "FP32": contents.fp32_contents,
        "FP64": contents.fp64_contents,
    }
    return content_of(fields.get(tensor.datatype, ()), tensor.datatype, tensor.name[:40])


def _value(parameter: pb.InferParameter) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    return None if kind is None else getattr(parameter, kind)


def _answer(inferred: Inferred, request_id: str) -> pb.ModelInferResponse:
    return pb.ModelInferResponse(
        model_name=inferred.model,
        model_version=inferred.version,
        id=request_id,
        parameters={
            name: pb.InferParameter(bool_param=value)
            if isinstance(value, bool)
            else pb.InferParameter(string_param=value)
            for name, value in inferred.parameters.items()
        },
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
            )
            for tensor in inferred.outputs
        ],
        raw_output_contents=[tensor.content for tensor in inferred.outputs],
    )
