# Base images for the containers: pulled, or bootstrapped from Debian packages.
# Sourced after common.sh, python.sh and engine.sh.
# shellcheck shell=bash

BASE=reprorun-base

# python_of SUITE: the Python that a release of Debian or Ubuntu has; nothing for one not known here.
python_of() {
    case $1 in
    bullseye) echo 3.9 ;;
    bookworm) echo 3.11 ;;
    trixie) echo 3.13 ;;
    focal) echo 3.8 ;;
    jammy) echo 3.10 ;;
    noble) echo 3.12 ;;
    esac
}

# host_suite: this machine's own release where it has Python 3.10 or newer, else bookworm.
host_suite() {
    local suite
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}") || true
    case $suite in
    trixie | jammy | noble) printf '%s' "$suite" ;;
    *) printf 'bookworm' ;;
    esac
}

# bootstrap SUITE [OPTION...]: scripts/base-image, whose last line is the tag.
bootstrap() { "$ROOT/scripts/base-image" "$@" | tail -n 1; }

# pull_image REF: 0 when it is there afterwards; gives up soon where no registry answers.
pull_image() {
    say "pulling $1"
    engine pull "$1" >/dev/null 2>&1
}

# ensure_base_image: sets BASE_IMAGE, for the Python of .venv where that can be had.
# What is on the machine already comes first, then the registry, then Debian's packages.
ensure_base_image() {
    local version reference
    version=$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    for reference in ${REPRORUN_BASE_IMAGE:-"python:$version-slim" "$BASE:$version"}; do
        if engine has "$reference"; then
            BASE_IMAGE=$reference
            say "base image: $BASE_IMAGE"
            return
        fi
    done
    reference=${REPRORUN_BASE_IMAGE:-python:$version-slim}
    if pull_image "$reference"; then
        BASE_IMAGE=$reference
    elif [[ -n ${REPRORUN_BASE_IMAGE:-} ]]; then
        die "REPRORUN_BASE_IMAGE=$reference is not here and cannot be pulled: correct it or unset it"
    else
        say "no image registry has it for us: bootstrapping from Debian packages (about a minute)"
        BASE_IMAGE=$(bootstrap "$(host_suite)")
    fi
    say "base image: $BASE_IMAGE"
}
