# Shared by everything in scripts/: where the repository is, how to say something,
# how to stop, how to install a Debian package. Sourced, not run.
# shellcheck shell=bash disable=SC2034

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LIB=$ROOT/scripts/lib

# The script that the user typed speaks, also where another one does the work.
export REPRORUN_SCRIPT=${REPRORUN_SCRIPT:-$(basename "$0")}

say() { printf '%s\n' "$*"; }

# die MESSAGE: one line that says what is missing and what to do about it.
die() {
    printf '%s: %s\n' "$REPRORUN_SCRIPT" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [[ $(id -u) -eq 0 ]]; }
is_debian() { [[ -e /etc/debian_version ]] && have apt-get; }

# last_line FILE: what a failed program had to say, on one short line.
last_line() {
    local line
    line=$(grep -a '[^[:space:]]' "$1" | grep -av 'mmdebstrap failed to run' | grep -aiE 'error|fatal|failed|no space|unable|denied|cannot|could not' | tail -n 1) ||
        line=$(grep -a '[^[:space:]]' "$1" | tail -n 1) || line='it printed nothing'
    sed -E 's/^time="[^"]*" //; s/^level=[a-z]+ msg="?//' <<<"$line" | cut -c 1-300
}

# quietly WHAT COMMAND...: runs it without a word; where it fails, WHAT and its last line.
quietly() {
    local what=$1 log
    shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1 </dev/null; then
        local why
        why=$(last_line "$log")
        rm -f "$log"
        die "$what failed: $why"
    fi
    rm -f "$log"
}

# need_disk DIR GIGABYTES: the file system of DIR, or of its nearest parent that exists.
need_disk() {
    local dir=$1 free
    while [[ ! -d $dir ]]; do dir=$(dirname "$dir"); done
    free=$(df -Pk "$dir" | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
    ((free >= $2)) || die "only $free GB free in $dir, $2 GB are needed: make room there"
}

apt_update() {
    # One source of several that does not answer is no reason to stop: the install will tell.
    apt-get -qq update </dev/null >/dev/null 2>&1 || true
}

# can_apt: may this user install Debian packages here?
can_apt() { is_debian && is_root; }

apt_install() {
    say "installing $* (apt)"
    apt_update
    quietly "apt-get install $*" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq \
        -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "$@"
}
