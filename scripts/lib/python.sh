# The host's side of Python: an interpreter, git, and the virtual environment .venv.
# Sourced after common.sh.
# shellcheck shell=bash

VENV=$ROOT/.venv

# usable_python COMMAND: is it 3.10 or newer, and can it make a virtual environment with pip?
usable_python() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

# find_python: prints the first usable one; PYTHON names the user's choice.
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" /usr/bin/python3 python3.{14,13,12,11,10}; do
        if usable_python "$candidate"; then
            command -v "$candidate"
            return
        fi
        [[ -z ${PYTHON:-} ]] || break
    done
    return 1
}

# ensure_python: sets PYTHON.
ensure_python() {
    local found
    if ! found=$(find_python) && [[ -z ${PYTHON:-} ]] && can_apt; then
        apt_install python3 python3-venv
        found=$(find_python) || true
    fi
    [[ -n $found ]] || die "no Python 3.10 or newer with venv and pip: install one \
(Debian: apt-get install python3 python3-venv) or name it with PYTHON=/path/to/python3"
    PYTHON=$found
}

ensure_git() {
    have git && return
    can_apt || die "git is missing: install it"
    apt_install git ca-certificates
}

# stamp_for EXTRA: what an installation depends on; an editable one also on where it is.
stamp_for() {
    {
        cat "$ROOT/pyproject.toml" "$ROOT/requirements-dev.lock"
        printf '%s\n' "$ROOT" "$1"
        "$VENV/bin/python" -V
    } | sha256sum | cut -d ' ' -f 1
}

# installed EXTRA: is .venv as pyproject.toml wants it? One with the dev extra has all of the plain one.
installed() {
    [[ -x $VENV/bin/reprorun ]] && "$VENV/bin/python" -c '' 2>/dev/null || return 1
    local stamp
    stamp=$(cat "$VENV/.stamp" 2>/dev/null) || return 1
    [[ $stamp == "$(stamp_for "$1")" || $stamp == "$(stamp_for dev)" ]]
}

# pip_install ARGUMENTS...: tells a missing network from a missing package.
pip_install() {
    local log why
    log=$(mktemp)
    if ! "$VENV/bin/python" -m pip install --quiet --retries 2 --disable-pip-version-check "$@" \
        >"$log" 2>&1 </dev/null; then
        why=$(last_line "$log")
        if grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError' "$log"; then
            why='no package index answers: connect to the network, or name an index with PIP_INDEX_URL'
        fi
        rm -f "$log"
        die "pip install failed: $why"
    fi
    rm -f "$log"
}

# install_package EXTRA: the tools of the dev extra come in the versions, and with the hashes, of
# requirements-dev.lock; a user gets what pyproject.toml allows.
install_package() {
    local extra=$1
    need_disk "$ROOT" 1
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 ||
        quietly "making $VENV" "$PYTHON" -m venv --clear "$VENV"
    say "installing reprorun${extra:+[$extra]} into .venv"
    rm -f "$VENV/.stamp"
    [[ $extra != dev ]] || pip_install --require-hashes --requirement "$ROOT/requirements-dev.lock"
    pip_install --editable "$ROOT${extra:+[$extra]}"
    stamp_for "$extra" >"$VENV/.stamp"
}

# ensure_venv [EXTRA]: .venv with the package in it, editable. One run at a time.
ensure_venv() {
    local extra=${1:-}
    [[ -w $ROOT ]] || die "cannot write in $ROOT: clone the repository as the user who runs this"
    exec 9<"$ROOT"
    if have flock; then flock 9; fi
    installed "$extra" || install_package "$extra"
    exec 9<&-
}
