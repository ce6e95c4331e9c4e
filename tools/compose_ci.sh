#!/usr/bin/env bash
# The deployment for real: lint every deploy file, build the Dockerfile as it is, bring the compose
# file up as it is, and run a command beside it. Needs root on Debian, and skips in one line where
# no Docker engine can run.
#
#   tools/compose_ci.sh [COMMAND...]   default: the tests of what runs, tests/deploy/test_compose_up.py
#
# A Docker engine of its own keeps everything in one folder, which is removed at the end. No container
# registry is asked: the base image is made with mmdebstrap, and Prometheus, Alertmanager and nginx
# are Debian's; Grafana has no such stand-in and is not started.
#
#   RESULTS=folder  keep the log there, and what every panel of the dashboards showed
#   KEEP=1          leave engine, containers and folder there, to look at
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off

python=${PYTHON:-$PWD/.venv/bin/python} # one that has this package and its tests
work=$(mktemp -d "${TMPDIR:-/tmp}/v2vpose-compose.XXXXXX")
if [[ -n ${RESULTS:-} ]]; then
    mkdir -p "$RESULTS"
    export PANELS=$RESULTS/panels.md
    exec > >(sed --unbuffered "s|$work/||g; s|$PWD/||g" | tee "$RESULTS/log.txt") 2>&1
fi
export PATH=$work/tools/bin:$work/debian/usr/bin:$work/debian/usr/sbin:$PATH
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config DOCKER_BUILDKIT=0

say() { printf 'compose: %4d s  %s\n' "$SECONDS" "$*"; }
skip() { # in one clear line
    say "skipped: $*"
    say() { :; }
    exit 0
}

clean_up() {
    local status=$?
    if [[ -n ${KEEP:-} ]]; then
        say "kept: export DOCKER_HOST=$DOCKER_HOST DOCKER_CONFIG=$DOCKER_CONFIG"
        return
    fi
    if [[ -n ${engine:-} ]]; then
        ((status == 0)) || docker compose logs --tail 50 v2vpose prometheus alertmanager proxy || true
        docker compose down --volumes --timeout 5 >/dev/null 2>&1 || true
        kill "$engine"
        wait "$engine" || true
    fi
    [[ -z ${wheels:-} ]] || kill "$wheels" || true
    awk -v at="$work/" 'index($2, at) == 1 {print $2}' /proc/mounts | sort -r |
        xargs --no-run-if-empty umount --lazy || true
    rm -rf "$work"
    ((status == 0)) && say "cleaned up" || say "FAILED, cleaned up"
}
trap clean_up EXIT

packages() { # the engine, and the tools of the stand-ins: unpacked, not installed
    local missing=()
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    apt-get update -qq
    ((${#missing[@]} == 0)) ||
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$work/apt.log" 2>&1 ||
        skip "$(tail -1 "$work/apt.log")"
    mkdir "$work/debs" "$work/debian"
    (cd "$work/debs" && apt-get download -qq prometheus prometheus-alertmanager nginx) 2>/dev/null
    for deb in "$work"/debs/*.deb; do dpkg-deb --extract "$deb" "$work/debian"; done
    "$python" -m pip install -qq --target "$work/tools" --requirement deploy/requirements.txt
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    ln -s "$work/tools/bin/docker-compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"
    # No network of the engine leads out of this machine; a build takes the machine's.
    printf 'services:\n  v2vpose: &host\n    build: {network: host}\n  loadtest: *host\n' \
        >"$work/override.yml"
}

lint() {
    hadolint Dockerfile
    PYTHONPATH=$work/tools:service "$python" -m yamllint --strict --config-file deploy/yamllint.yml \
        docker-compose.yml deploy
    promtool check config deploy/prometheus/prometheus.yml
    promtool test rules deploy/prometheus/rules_test.yml
    amtool check-config deploy/alertmanager/alertmanager.yml
    # As it is, but for names that only the engine's network knows.
    sed 's/server v2vpose:/server 127.0.0.1:/' deploy/proxy/nginx.conf >"$work/nginx.conf"
    nginx -t -e stderr -c "$work/nginx.conf"
    docker compose --profile '*' config --quiet
    docker compose -f docker-compose.yml -f deploy/compose.gpu.yml config --quiet
    PYTHONPATH=$work/tools:service "$python" -m pytest -q tests/deploy --ignore tests/deploy/test_compose_up.py
}

start_engine() {
    cat >"$work/daemon.json" <<-EOT
	{"data-root": "$work/data", "exec-root": "$work/exec", "pidfile": "$work/docker.pid",
	 "hosts": ["$DOCKER_HOST"], "iptables": false, "ip-masq": false, "ip-forward": false,
	 "bridge": "none"}
	EOT
    dockerd --config-file "$work/daemon.json" >"$work/engine.log" 2>&1 &
    engine=$!
    for _ in {1..50}; do
        docker info >/dev/null 2>&1 && return
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.2
    done
    wait "$engine" 2>/dev/null || true
    engine=
    skip "the Docker engine does not run here: $(tail -1 "$work/engine.log")"
}

own_sources() { # this machine's Debian mirror
    find /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -1
}

stand_ins() { # the images of Dockerfile and docker-compose.yml, under their own names
    local image
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$work/pip.conf"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv \
        --customize-hook="upload /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt" \
        --customize-hook="upload $work/pip.conf /etc/pip.conf" \
        --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
        --customize-hook='ln -s python3 "$1"/usr/bin/python' \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" - "$(own_sources)" |
        docker import --change 'CMD ["python3"]' - python:3.11-slim >/dev/null
    docker run --rm --network none python:3.11-slim true 2>"$work/run.log" ||
        skip "containers do not run here: $(tail -1 "$work/run.log")"

    image=$(docker compose config --images prometheus | grep '^prom/prometheus:')
    stand_in "$image" usr/bin/prometheus /bin/prometheus /prometheus
    image=$(docker compose config --images alertmanager | grep '^prom/alertmanager:')
    stand_in "$image" usr/bin/prometheus-alertmanager /bin/alertmanager /alertmanager \
        usr/share/prometheus/alertmanager
    image=$(docker compose --profile proxy config --images proxy | grep nginx)
    stand_in "$image" usr/sbin/nginx /usr/sbin/nginx /tmp
}

stand_in() { # image, program, its place in the image, a folder that it owns, one that it reads
    local own=$work/stand-in
    rm -rf "$own"
    mkdir -p "$own/share"
    cp "$work/debian/$2" "$own/program"
    [[ -z ${5:-} ]] || cp -rL "$work/debian/$5/." "$own/share"
    cat >"$own/Dockerfile" <<-EOT
	FROM python:3.11-slim
	COPY program $3
	COPY share /${5:-tmp/share}
	RUN install --directory --owner=nobody --group=nogroup --mode=1777 $4
	USER nobody
	ENTRYPOINT $([[ $1 == *nginx* ]] && echo '[]' || echo "[\"$3\"]")
	EOT
    docker build --quiet --tag "$1" "$own" 2>&1 >/dev/null | sed '/^DEPRECATED/,/^$/d'
}

build() {
    # This machine's own wheels (a CPU build of torch), served to the build on loopback.
    local folder
    folder=$("$python" -m pip config get global.find-links 2>/dev/null || true)
    if [[ -d $folder ]]; then
        "$python" -m http.server --bind 127.0.0.1 --directory "$folder" 18765 >/dev/null 2>&1 &
        wheels=$!
        export PIP_FIND_LINKS=http://127.0.0.1:18765
    fi
    REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
    export REVISION
    if ! docker compose build v2vpose >"$work/build.log" 2>&1; then
        tail -30 "$work/build.log"
        return 1
    fi
}

((EUID == 0)) || skip "needs root"
command -v apt-get >/dev/null || skip "needs Debian's packages"
namespaces=$(unshare --mount --pid --net --fork true 2>&1) ||
    skip "containers do not run here: ${namespaces##*$'\n'}"
say "packages"
packages
say "lint"
lint
say "engine"
start_engine
say "stand-in images"
stand_ins
export COMPOSE_FILE=docker-compose.yml:$work/override.yml COMPOSE_PROFILES=proxy
say "build"
build
say "image: $(docker image inspect --format '{{.Size}}' v2vpose:latest | numfmt --to=iec)"
docker history --no-trunc --format '{{.Size}}\t{{.CreatedBy}}' v2vpose:latest |
    awk -F'\t' '$1 !~ /^0B/ {print "  " $1 "  " substr($2, 1, 90)}'
say "up"
docker compose up --detach --no-build --wait --wait-timeout 300 \
    v2vpose prometheus alertmanager proxy >"$work/up.log" 2>&1 || { cat "$work/up.log"; exit 1; }
docker compose ps --format '  {{.Service}}: {{.Status}}'
if (($# == 0)); then
    set -- env COMPOSE_UP=1 PYTHONPATH="$work/tools:service" \
        "$python" -m pytest -v --no-header tests/deploy/test_compose_up.py
fi
say "run"
"$@"
say "passed"
