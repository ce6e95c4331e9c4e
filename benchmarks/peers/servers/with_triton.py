"""Triton itself, from the wheel of nvidia-pytriton: its Python backend, and its ensembles.

Writes a model repository, then becomes `tritonserver`. `triton` holds all members in one model, in
turn; `triton-ensemble` has one model for each member and an aggregator.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytriton

from benchmarks.peers.job import COLS, KEYPOINTS, ROWS, config

TOLD = config()
PATHS = """
import sys
sys.path[:0] = {paths!r}  # the stub does not take PYTHONPATH
"""
MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils
from benchmarks.peers.job import Job, config

class TritonPythonModel:
    def initialize(self, args):
        self.job = Job(config(), {only})

    def execute(self, requests):
        bodies = [pb_utils.get_input_tensor_by_name(r, "depth").as_numpy() for r in requests]
        answers = self.job(bodies)
        return [
            pb_utils.InferenceResponse([
                pb_utils.Tensor("keypoints_mm", answer[None].astype(np.float32))
            ])
            for answer in answers
        ]
"""
MEAN = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            each = [tensor.as_numpy() for tensor in request.inputs()]
            mean = np.mean(each, axis=0, dtype=np.float64).astype(np.float32)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("keypoints_mm", mean)]))
        return answers
"""
DEPTH = f'name: "depth" data_type: TYPE_UINT16 dims: [{ROWS}, {COLS}]'
POSE = f"data_type: TYPE_FP32 dims: [{KEYPOINTS}, 3]"


def write(repository: Path, name: str, code: str | None, config_text: str) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"\n{config_text}\n', "utf-8")
    if code is not None:
        paths = [*os.environ["PYTHONPATH"].split(":"), sysconfig.get_paths()["purelib"]]
        (version / "model.py").write_text(PATHS.format(paths=paths) + code, "utf-8")


def python_model(inputs: list[str], instances: int) -> str:
    listed = ", ".join(f"{{ {each} }}" for each in inputs)
    return (
        f'backend: "python"\nmax_batch_size: {TOLD["batch"]}\ninput [{listed}]\n'
        f'output [{{ name: "keypoints_mm" {POSE} }}]\n'
        f"instance_group [{{ kind: KIND_CPU count: {instances} }}]\n"
        f"dynamic_batching {{ default_queue_policy {{ max_queue_size: {TOLD['capacity']} }} }}"
    )


def ensemble(members: int) -> str:
    steps = [
        f'{{ model_name: "member{k}" model_version: -1 '
        f'input_map {{ key: "depth" value: "depth" }} '
        f'output_map {{ key: "keypoints_mm" value: "pose{k}" }} }}'
        for k in range(members)
    ]
    maps = " ".join(f'input_map {{ key: "pose{k}" value: "pose{k}" }}' for k in range(members))
    steps.append(
        f'{{ model_name: "mean" model_version: -1 {maps} '
        f'output_map {{ key: "keypoints_mm" value: "keypoints_mm" }} }}'
    )
    return (
        f'platform: "ensemble"\nmax_batch_size: {TOLD["batch"]}\ninput [{{ {DEPTH} }}]\n'
        f'output [{{ name: "keypoints_mm" {POSE} }}]\n'
        f"ensemble_scheduling {{ step [{', '.join(steps)}] }}"
    )


def repository(root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    members = TOLD["members"]
    if TOLD["peer"] == "triton":
        write(root, "estimate", MODEL.format(only=None), python_model([DEPTH], TOLD["workers"]))
        return root
    for k in range(members):
        write(root, f"member{k}", MODEL.format(only=k), python_model([DEPTH], TOLD["workers"]))
    poses = [f'name: "pose{k}" {POSE}' for k in range(members)]
    write(root, "mean", MEAN, python_model(poses, 1))
    write(root, "estimate", None, ensemble(members))
    return root


def main() -> None:
    package = Path(pytriton.__file__).parent / "tritonserver"
    stub = package / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    backends = Path(TOLD["work"]) / "backends"
    shutil.rmtree(backends, ignore_errors=True)
    shutil.copytree(package / "backends", backends)
    target = backends / "python" / "triton_python_backend_stub"
    shutil.copy(stub / "triton_python_backend_stub", target)
    target.chmod(0o755)
    external = Path(pytriton.__file__).parent.parent / "nvidia_pytriton.libs"
    paths = [sysconfig.get_config_var("LIBDIR"), str(external)]
    os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    server = package / "bin" / "tritonserver"
    os.execv(  # noqa: S606  # no shell
        server,
        [
            str(server),
            f"--model-repository={repository(Path(TOLD['work']) / 'models')}",
            f"--backend-directory={backends}",
            "--http-address=127.0.0.1", f"--http-port={TOLD['port']}", "--allow-grpc=false",
            "--allow-metrics=false", "--log-warning=true", "--log-info=false",
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
