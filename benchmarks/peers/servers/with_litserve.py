"""LitServe: JSON or forms only, so the depth map travels in base64."""

import base64

import litserve

from benchmarks.peers.job import Job, config

TOLD = config()


class Estimate(litserve.LitAPI):
    """The model's process."""

    def setup(self, device):
        del device  # cpu
        self.job = Job(TOLD)

    def decode_request(self, request):
        return base64.b64decode(request["depth"])

    def predict(self, x):
        return self.job(x) if TOLD["batch"] > 1 else self.job([x])[0]

    def encode_response(self, output):
        return {"keypoints_mm": output.tolist()}


if __name__ == "__main__":
    batch = {"max_batch_size": TOLD["batch"], "batch_timeout": 0.001} if TOLD["batch"] > 1 else {}
    server = litserve.LitServer(
        Estimate(**batch), accelerator="cpu", workers_per_device=TOLD["workers"], timeout=60
    )
    server.run(
        host="127.0.0.1", port=TOLD["port"], num_api_servers=1, generate_client_file=False,
        log_level="warning",
    )  # fmt: skip
