#!/usr/bin/env bash
# What the commit that is checked out does to the data, against the commit BASE, for any CI (docs/pull-request.md):
#
#   deploy/preview.sh BASE DIR
#
# writes report.md and report.json into DIR. It ends with 0 where the verdict is green or yellow, with 1 where it is red,
# and with 2 where no preview could be made. It runs on a Postgres of its own, which is gone afterwards. In that BASE's
# code plays the demo shop, or runs once on the masked copy in the folder PREVIEW_COPY.
set -euo pipefail

base=${1:?which commit to compare with}
out=$(realpath --canonicalize-missing "${2:?which folder to write to}")
data=(demo)
if [ -n "${PREVIEW_COPY:-}" ]; then data=(masked FROM="$(realpath "$PREVIEW_COPY")" ARGS=--run); fi
cd "$(dirname "$0")/.."
# In a container the checkout mostly belongs to somebody else, and git would refuse it.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD
git rev-parse --verify --quiet "$base^{commit}" >/dev/null || {
  echo "$base is no commit of this checkout: fetch it first (a shallow checkout has only its newest commits)." >&2
  exit 2
}
make install

rm -f "$out/report.json" "$out/report.md"
work=$(mktemp --directory)
export GREENERY_STATE_DIR=$work/state
# make ends with 2 whatever went wrong in it; where the preview was made, it is its verdict.
end() {
  local status=$?
  make --silent down >&2 || true
  rm -rf "$work"
  if [ "$status" != 0 ]; then if [ -e "$out/report.json" ]; then exit 1; else exit 2; fi; fi
}
trap end EXIT
# Nobody opens Airflow here, and another job of this machine may want its usual port.
GREENERY_UI_PORT=$(.venv/bin/python -c 'import socket; free = socket.create_server(("127.0.0.1", 0)); print(free.getsockname()[1])')
export GREENERY_UI_PORT
mkdir "$work/base"
git archive "$base" | tar --extract --file=- --directory "$work/base"
# Where the base pins the same packages, it runs on the same ones.
pins=(requirements.txt requirements-dev.txt constraints.txt overrides.txt)
if git diff --quiet "$base" -- "${pins[@]}"; then ln --symbolic "$(realpath .venv)" "$work/base/.venv"; fi
make --directory "$work/base" "${data[@]}" >&2
make preview BASE="$base" ARGS="--out '$out'"
