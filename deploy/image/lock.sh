#!/usr/bin/env bash
# Write the locks of the image from pyproject.toml and constraints.txt: `make lock`.
#
#   declared.txt       what the locks were made from; a test compares it with pyproject.toml
#   torch.txt          torch, and all that its CPU and CUDA builds need; without hashes, since the
#                      two are different files of one version, and either may be offered
#   requirements.lock  everything else the service needs
#   cpu.lock           the extra `cpu`, without openvino-telemetry: to report usage it forks the
#                      service and sends the fork SIGTERM, which the service's event loop obeys
#   loadtest.lock      locust
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset UV_FIND_LINKS UV_EXTRA_INDEX_URL # a CPU build of torch would hide what the CUDA build needs
python=${PYTHON:-python3} # 3.11 or newer
locks=deploy/image
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

declared() {
    "$python" - <<-'END'
	import tomllib
	from pathlib import Path
	project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
	print(*sorted(project["dependencies"]), *project["optional-dependencies"]["cpu"], sep="\n")
	END
    cat deploy/loadtest/requirements.txt
}
resolve() { # in, options... : pins for the image's Python and platform
    "$work/venv/bin/uv" pip compile "$@" --quiet --no-header --no-annotate \
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
declared >"$locks/declared.txt"
