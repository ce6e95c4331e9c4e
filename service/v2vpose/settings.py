"""The environment -> typed values, read once, at the edge. `V2VPOSE_HTTP_PORT=8080 v2vpose serve`.

Nothing else reads the environment; the values travel down as plain arguments.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from v2vpose.errors import InvalidFieldError

PREFIX: Final = "V2VPOSE_"
Backend: TypeAlias = Literal["openvino", "openvino-f32", "openvino-bf16", "torch", "cuda"]
_STORE: Final = "model_store"
_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP)(_\w+)?$")


def _words(value: Any) -> Any:
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else value


class Settings(BaseSettings):
    """Every setting of the service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 = every network.")
    http_port: int = Field(8000, ge=0, le=65535, description="Port of REST; 0 = any free one.")
    grpc_port: int = Field(50051, ge=0, le=65535, description="Port of gRPC; 0 = any free one.")
    model_store: Path | None = Field(
        None, description="Directory of model versions; default: model_store here or above."
    )
    models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        (),
        description="Models to serve, the default one first: `hand,body@2`; "
        "default: hand, or all in a store without one; in the newest version.",
    )
    backend: Literal["auto"] | Backend = Field(
        "auto",
        description="What runs the nets; auto: the fastest here. openvino: its faster precision.",
    )
    replicas: int = Field(1, gt=0, description="Copies of every ensemble.")
    engine: Literal["local", "ray"] = Field(
        "local", description="Where members run: processes here, or actors of a Ray cluster."
    )
    ray_address: str = Field(
        "auto",
        description="HOST:PORT of the Ray cluster's head; auto: the cluster of this machine.",
    )
    ray_actors: int | None = Field(
        None,
        gt=0,
        description="Actors that share the members of a replica; default: one a member on GPUs, "
        "else as many as the smallest Ray node has cores.",
    )
    ray_cpus: float = Field(1.0, ge=0, description="Cores that an actor takes of its Ray node.")
    ray_gpus: float = Field(
        0.0, ge=0, description="Part of a GPU that an actor takes of its Ray node, such as 0.1."
    )
    quorum: int | None = Field(
        None, gt=0, description="Epoch checkpoints that must answer; default: half, rounded up."
    )
    max_batch_size: int = Field(4, gt=0, description="Depth maps in one batch.")
    max_queue_delay_ms: float = Field(
        10.0, ge=0, description="Longest wait for batch-mates while every worker is busy."
    )
    max_queue_size: int = Field(64, gt=0, description="Requests of a model waiting for a worker.")
    locate_threads: int = Field(2, gt=0, description="Depth maps searched for a target at once.")
    api_key: SecretStr | None = Field(
        None, min_length=1, description="Key that callers need; default: none is needed."
    )
    admin_key: SecretStr | None = Field(
        None, min_length=1, description="Key of admin requests; default: these are off."
    )
    max_body_bytes: int = Field(16 * 2**20, gt=0, description="Largest body, or frame of a stream.")
    max_inflight_bytes: int = Field(
        512 * 2**20,
        gt=0,
        description="Bytes of bodies and frames being read, waiting or worked on, of all callers.",
    )
    max_pixels: int = Field(
        4 * 2**20, gt=0, le=4096 * 4096, description="Largest depth map, in pixels."
    )
    request_timeout_s: float = Field(
        30.0, gt=0, description="Deadline of requests without one, and the longest one may ask for."
    )
    decode_threads: int = Field(2, gt=0, description="Depth maps decoded at once.")
    max_decode_queue_size: int = Field(64, gt=0, description="Depth maps waiting to be decoded.")
    tracking_min_confidence: float = Field(
        0.3, ge=0, le=1, description="Mean heatmap peak below which a stream localises anew."
    )
    drain_delay_s: float = Field(
        2.0, ge=0, description="On SIGTERM: seconds not ready, still accepting, before the drain."
    )
    drain_grace_s: float = Field(
        20.0, ge=0, description="On SIGTERM: seconds to finish what was accepted."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log lines to write."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="JSON lines, or text; auto: text on a terminal."
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="OpenTelemetry collector for spans, such as http://localhost:4318; "
        "default: no spans.",
    )

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Read the environment; `overrides` that are not None win (the command line).

        Raises:
            InvalidFieldError: a variable is unknown, malformed or out of range.
        """
        names = os.environ if environ is None else environ
        known = {PREFIX + name.upper() for name in cls.model_fields}
        unknown = sorted(
            name
            for name, value in names.items()
            if name.startswith(PREFIX) and name not in known and not _is_link(name, value)
        )
        if unknown:
            raise InvalidFieldError(
                f"unknown environment variable {unknown[0]} (known: {', '.join(sorted(known))})"
            )
        values: dict[str, Any] = {
            name: names[PREFIX + name.upper()]
            for name in cls.model_fields
            if PREFIX + name.upper() in names
        }
        values |= {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            texts = (
                f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}, got {e['input']!r}"
                for e in error.errors()
            )
            raise InvalidFieldError("; ".join(texts)) from error

    def wished_backend(self) -> Backend | None:
        """Return what runs the nets; None = the fastest here."""
        return None if self.backend == "auto" else self.backend

    def store_path(self) -> Path:
        """Return the model store's directory.

        Raises:
            InvalidFieldError: there is none.
        """
        return found_store(self.model_store, Path.cwd())


def _is_link(name: str, value: str) -> bool:
    """Whether Kubernetes or Docker wrote it for a service that happens to be called v2vpose."""
    return bool(_LINK.search(name)) or value.startswith(("tcp://", "udp://"))


def found_store(given: Path | None, start: Path) -> Path:
    """Return the model store: the one given, or the nearest `model_store` from `start` upwards.

    Raises:
        InvalidFieldError: it is not a directory, or there is none.
    """
    if given is not None:
        if not given.is_dir():
            raise InvalidFieldError(f"model store {given}: expected a directory, found none")
        return given
    package = Path(__file__).resolve()
    for directory in (start, *start.parents, *package.parents):
        if any((directory / _STORE).glob("*/*/manifest.json")):
            return directory / _STORE
    raise InvalidFieldError(
        f"no {_STORE} with models in {start} or above; name one with --store or {PREFIX}MODEL_STORE"
    )
