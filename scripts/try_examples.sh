#!/usr/bin/env bash
# Starts each example as the README says, in its own process, and asks it for its page or its routes.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
for application in examples.chat:endpoint examples.conformance:endpoint; do
  .venv/bin/mesh routes "$application"
  .venv/bin/mesh serve "$application" --port 0 2>"$log" &
  pid=$!
  url=
  for _ in $(seq 600); do
    url=$(grep -o 'http://[0-9.]*:[0-9]*' "$log" | head -n 1 || true)
    [ -n "$url" ] && break
    sleep 0.1
  done
  [ -n "$url" ] || { cat "$log"; kill "$pid"; exit 1; }
  curl --silent --show-error --output /dev/null --write-out "$application %{http_code}\n" "$url/"
  kill "$pid"
  wait "$pid"
done
rm -f "$log"
