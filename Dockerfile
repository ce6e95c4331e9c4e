# v2vpose for CPUs (default) or CUDA.
#
#   docker build -t v2vpose .
#   docker build -t v2vpose:cuda --build-arg DEVICE=cuda .
#
# The torch of the package index is a CUDA build: it runs on CPUs too, but is gigabytes larger.
# PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL name a place that has the CPU wheel of the same version.

ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS pip
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /pip

# torch in a layer of its own: the largest part, and the one that changes least. Its headers, tests
# and tools are for people who extend torch; only torch_shm_manager is looked for on import.
FROM pip AS torch
ARG DEVICE=cpu
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
COPY deploy/image/torch.txt /locks/
RUN /pip/bin/pip install --target /opt/torch --constraint /locks/torch.txt torch \
    && rm -rf /opt/torch/torch/include /opt/torch/torch/test \
    && find /opt/torch/torch/bin -type f ! -name torch_shm_manager -delete
RUN PYTHONPATH=/opt/torch python -c "import sys, torch; sys.exit('${DEVICE}' == 'cuda' and torch.version.cuda is None and 'DEVICE=cuda needs a CUDA build of torch, found ' + torch.__version__)"

FROM pip AS libraries
ARG DEVICE=cpu
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
COPY deploy/image/requirements.lock deploy/image/cpu.lock /locks/
RUN if [ "${DEVICE}" = cpu ]; then set -- --requirement /locks/cpu.lock; else set --; fi \
    && /pip/bin/pip install --target /opt/libraries --no-deps --require-hashes \
        --requirement /locks/requirements.lock "$@"

FROM ${PYTHON_IMAGE} AS service
# Writable when the root is not: numba's cache, and matplotlib's when a picture is drawn.
ENV HOME=/var/cache/v2vpose \
    MPLCONFIGDIR=/var/cache/v2vpose/matplotlib \
    NUMBA_CACHE_DIR=/var/cache/v2vpose/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/v2vpose:/opt/libraries:/opt/torch \
    PYTHONUNBUFFERED=1 \
    V2VPOSE_HOST=0.0.0.0 \
    V2VPOSE_MODEL_STORE=/opt/model_store
RUN useradd --uid 10001 --no-create-home --home-dir "$HOME" --shell /usr/sbin/nologin v2vpose \
    && install --directory --owner=v2vpose --group=v2vpose "$HOME"
COPY --from=torch /opt/torch /opt/torch
COPY --from=libraries /opt/libraries /opt/libraries
COPY model_store /opt/model_store
COPY deploy/image/healthcheck.py deploy/image/warm.py /opt/image/
COPY service /opt/v2vpose
RUN python -m compileall -q /opt/v2vpose
WORKDIR /opt/v2vpose
USER 10001
# Compiled here, so that a container starts warm on machines like the builder's; on others numba
# notices and compiles once more. The volume is writable under a read-only root, is filled from the
# image, and keeps what was compiled: numba takes no cache that it cannot write to.
RUN python /opt/image/warm.py
VOLUME /var/cache/v2vpose
EXPOSE 8000 50051
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-IS", "/opt/image/healthcheck.py"]
ENTRYPOINT ["python", "-m", "v2vpose"]
CMD ["serve"]

ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="v2vpose" \
      org.opencontainers.image.description="V2V-PoseNet as a service: a depth map goes in, 3D hand or body keypoints come out." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM pip AS locust
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
COPY deploy/image/loadtest.lock /locks/
RUN /pip/bin/pip install --target /opt/locust --no-deps --require-hashes \
        --requirement /locks/loadtest.lock

# The load generator: the service's own frames and stubs, and locust.
FROM service AS loadtest
COPY --from=locust /opt/locust /opt/locust
COPY deploy/loadtest /opt/loadtest
ENV PYTHONPATH=/opt/loadtest:/opt/v2vpose:/opt/libraries:/opt/torch:/opt/locust
WORKDIR /var/cache/v2vpose
EXPOSE 8089
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "locust", "--locustfile", "/opt/loadtest/locustfile.py"]
CMD []

# What `docker build` without --target makes.
FROM service
