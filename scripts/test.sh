#!/usr/bin/env bash
# scripts/test.sh             installs what the tests need and runs the whole suite
# scripts/test.sh ARGUMENT…   the same, with arguments for pytest (`-n 0`: in one process)
# scripts/test.sh unit        unit tests and contract suites only, for use after every small change: nothing is
#                             installed if there is a virtual environment, and random tests try ten examples each.
#                             More arguments go to pytest: `scripts/test.sh unit -k join`.
set -euo pipefail
cd "$(dirname "$0")/.."

processes=$(($(nproc) + 1)) # tests wait half of their time; still more would starve the nodes under test
processes=$((processes < 8 ? processes : 8))

install_package() {
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/pip install --quiet --editable '.[test]'
}

if [ "${1:-}" = unit ]; then
  shift
  [ -x .venv/bin/pytest ] || install_package
  # Left out: two slow files. The whole suite has them.
  exec .venv/bin/python -m pytest -q -n "$processes" --hypothesis-profile=quick tests/unit tests/contract \
    --ignore=tests/unit/gateway/test_growth.py \
    --ignore=tests/unit/nodes/cluster/test_readiness.py \
    "$@"
fi

install_package

need_apt=()
command -v node >/dev/null && command -v npm >/dev/null || need_apt+=(nodejs npm)
command -v chromium >/dev/null || need_apt+=(chromium)
command -v cc >/dev/null || need_apt+=(gcc libc6-dev)
command -v make >/dev/null || need_apt+=(make)
command -v ip >/dev/null || need_apt+=(iproute2)
PATH=$PATH:/usr/sbin command -v dnsmasq >/dev/null || need_apt+=(dnsmasq-base)
command -v pkg-config >/dev/null || need_apt+=(pkg-config)
pkg-config --exists 'libzmq >= 4.3' 2>/dev/null || need_apt+=(libzmq3-dev)
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || need_apt+=(nginx-light)
command -v redis-server >/dev/null || need_apt+=(redis-server)
if [ ${#need_apt[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the tests need: ${need_apt[*]}; install them with your package manager and run this again" >&2
    exit 2
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${need_apt[@]}" >/dev/null
fi
npm ci --prefix tests/clients --no-audit --no-fund --loglevel=error

# Every node that a test starts imports the project: compile it once, even where Python is told to write no bytecode.
unset PYTHONDONTWRITEBYTECODE
.venv/bin/python -m compileall -q mesh gateway nodes scripts tests

status=0
.venv/bin/python -m pytest -n "$processes" "$@" || status=$?
if [ $status = 1 ]; then # tests failed; 2 and above: it was interrupted, or could not run
  echo "The tests that failed run once more, one after the other: what fails then does not fail for want of CPU time."
  status=0
  .venv/bin/python -m pytest -n 0 --last-failed --last-failed-no-failures none "$@" || status=$?
fi
exit $status
