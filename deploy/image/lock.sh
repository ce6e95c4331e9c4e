#!/usr/bin/env bash
# Write the locks of the image from pyproject.toml and constraints.txt; needs uv.
#
#   torch.txt          torch, and all that its CPU and CUDA builds need; without hashes, since the
#                      two are different files of one version, and either may be offered
#   requirements.lock  everything else the service needs
#   cpu.lock           the extra `cpu`, without openvino-telemetry: to report usage it forks the
#                      service and sends the fork SIGTERM, which the service's event loop obeys
#   loadtest.lock      locust
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset UV_FIND_LINKS UV_EXTRA_INDEX_URL # a CPU build of torch would hide what the CUDA build needs
locks=deploy/image
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

resolve() { # in, options... : pins for the image's Python and platform
    uv pip compile "$@" --quiet --no-header --no-annotate \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28
}
without() { # locks... : options that leave out what these pin
    sed -nE 's/^([A-Za-z0-9._-]+)==.*/--no-emit-package=\1/p' "$@"
}

resolve pyproject.toml --extra cpu --constraint constraints.txt >"$work/all"
hashed=(--generate-hashes --constraint "$work/all")

grep '^torch==' "$work/all" | resolve - --constraint "$work/all" >"$locks/torch.txt"
mapfile -t leave_out < <(without "$locks/torch.txt")
resolve pyproject.toml "${hashed[@]}" "${leave_out[@]}" >"$locks/requirements.lock"
mapfile -t leave_out < <(without "$locks/torch.txt" "$locks/requirements.lock")
resolve pyproject.toml --extra cpu "${hashed[@]}" "${leave_out[@]}" \
    --no-emit-package=openvino-telemetry >"$locks/cpu.lock"
resolve deploy/loadtest/requirements.txt "${hashed[@]}" "${leave_out[@]}" >"$locks/loadtest.lock"
