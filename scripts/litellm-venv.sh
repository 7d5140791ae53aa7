#!/usr/bin/env bash
# Makes .venv-litellm: the pinned LiteLLM proxy that test/e2e/litellm-proxy.spec.ts runs, with what the tests of clients/ need beside it.
# Done already: returns at once. Remade when deploy/litellm/requirements.txt changes. PYTHON names another interpreter (3.9 to 3.13).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv-litellm"
requirements="$root/deploy/litellm/requirements.txt"

tools="$root/clients/lint/requirements.txt"

install_tools() {
  cmp --silent "$tools" "$venv/installed-tools.txt" && return
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$tools"
  cp "$tools" "$venv/installed-tools.txt"
}

if [[ -x "$venv/bin/litellm" ]] && cmp --silent "$requirements" "$venv/installed-requirements.txt"; then
  install_tools
  exit 0
fi

python="${PYTHON:-python3}"
if ! command -v "$python" >/dev/null; then
  echo "The LiteLLM proxy needs Python 3: install it, or name it in PYTHON." >&2
  exit 1
fi

rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
# Written last: a half-made environment is made again.
cp "$requirements" "$venv/installed-requirements.txt"
install_tools
