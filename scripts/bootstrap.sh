#!/bin/sh
# Creates .venv with the packages that requirements/dev.txt locks. Needs Python 3.12 or 3.13 and a package index.
# Does nothing, and needs no network, while .venv matches the locked requirements.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/complete

usable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

version_of() {
    "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null
}

# Includes the folder, because the scripts in .venv/bin contain its path: a moved or copied .venv does not work.
venv_of() {
    echo "$PWD $(version_of "$1")"
}

locked() {
    cat requirements/base.txt requirements/dev.txt requirements/uv.txt clients/*/pyproject.toml | cksum
}

# Up to date: created from the current requirements by an interpreter that still works, the one in PYTHON if set.
complete() {
    [ -f $stamp ] && [ "$(cat $stamp)" = "$(venv_of "${PYTHON:-.venv/bin/python}")
$(locked)" ] && .venv/bin/python -c '' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" && command -v "$PYTHON" && return
        echo "PYTHON=$PYTHON is not a Python 3.12 or 3.13 with the modules venv and ensurepip." >&2
        return 1
    fi
    wanted=$(cat .python-version)
    for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$wanted"*/bin/python \
        python3.12 python3.13 python3; do
        usable "$candidate" && command -v "$candidate" && return
    done
    echo "Python 3.12 or 3.13 with its module venv is needed: install it (on Debian and Ubuntu the packages" \
        "python3.12 and python3.12-venv), or name one: make run PYTHON=/path/to/python3.12" >&2
    return 1
}

# uv does not read pip's configuration, so pass pip's mirror on to it.
follow_pip() {
    configured=$(.venv/bin/python -m pip config list 2>/dev/null || true)
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        index=$(echo "$configured" | sed -n "s/^[^=]*\.index-url='\(.*\)'\$/\1/p" | tail -n 1)
        [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
    fi
    if [ -z "${SSL_CERT_FILE:-}" ]; then
        certificate=$(echo "$configured" | sed -n "s/^[^=]*\.cert='\(.*\)'\$/\1/p" | tail -n 1)
        [ -z "$certificate" ] || export SSL_CERT_FILE="$certificate"
    fi
}

install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt || return
    echo "Installing $(grep -c '^[A-Za-z0-9].*==' requirements/dev.txt) packages …"
    follow_pip
    # uv.txt is in the list because a sync removes everything else.
    if ! UV_PYTHON_DOWNLOADS=never .venv/bin/uv --quiet --no-progress pip sync --python .venv/bin/python \
        --require-hashes requirements/uv.txt requirements/dev.txt; then
        echo "uv could not install them; trying the slower pip …" >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt || return
    fi
    # Editable, with the locked build backend: what is in clients/ is what the tests and `make chat` run.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        -e clients/python -e clients/cli
}

if complete; then
    exit 0
fi

if [ "${1:-}" != --locked ]; then
    python=$(find_python)
    # `make run` and `make test` may start at the same time. The lock is on this folder and ends with the last process
    # that inherited it, so it is never stale.
    exec "$python" -c '
import fcntl, os, sys
lock = os.open("scripts", os.O_RDONLY)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Waiting for another command that is creating .venv …", flush=True)
    fcntl.flock(lock, fcntl.LOCK_EX)
os.set_inheritable(lock, True)
os.execv("/bin/sh", ["sh", "scripts/bootstrap.sh", "--locked", sys.argv[1]])
' "$python"
fi

python=$2
if [ -f $stamp ] && [ "$(head -n 1 $stamp)" = "$(venv_of "${PYTHON:-.venv/bin/python}")" ]; then
    rm $stamp
else
    echo "Creating .venv with Python $(version_of "$python") …"
    rm -rf .venv
    "$python" -m venv .venv
fi
if ! install; then
    echo "The packages could not be installed: see the lines above, then run the same command again." >&2
    exit 1
fi
printf '%s\n%s\n' "$(venv_of .venv/bin/python)" "$(locked)" >$stamp
