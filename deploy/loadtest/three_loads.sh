#!/usr/bin/env bash
# REST at 50 %, 80 % and 200 % of a rate that the service just keeps up with, a minute each, from a
# container beside it. Reports go to benchmarks/results/load-*.html; memory is printed around each.
#
#   deploy/loadtest/three_loads.sh REQUESTS_A_SECOND
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rate=$1
results=benchmarks/results
report=/var/cache/v2vpose/report.html
mkdir -p "$results"

memory() { docker stats --no-stream --format 'memory: {{.MemUsage}}' "$(docker compose ps --quiet v2vpose)"; }

failed=0
for percent in 50 80 200; do
    users=$((rate * percent / 100))
    most_refused=$((percent > 100))
    objective_ms=$((percent > 100 ? 30000 : 500))
    echo "== $percent %: $users requests a second"
    memory
    docker compose --profile loadtest run --name v2vpose-load \
        --env MAX_REFUSED=$most_refused --env P99_MS=$objective_ms loadtest \
        --headless --users $users --spawn-rate $users --run-time 60s --stop-timeout 30s \
        --only-summary --html "$report" RestUser || failed=1
    docker cp "v2vpose-load:$report" "$results/load-$percent.html"
    docker rm v2vpose-load >/dev/null
    memory
done
exit $failed
