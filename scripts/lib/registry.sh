# A real image registry for the tests: Debian's docker-registry, which they start and stop.
# Sourced after common.sh and debian.sh.
# shellcheck shell=bash

# ensure_registry: docker-registry is on the PATH.
ensure_registry() {
    if ! have docker-registry; then
        unpack_debian docker-registry usr/bin/docker-registry ||
            die "docker-registry is missing, and this machine's apt does not have it: install \
distribution's registry, and put it on the PATH by the name docker-registry"
        PATH=$(dirname "$UNPACKED"):$PATH
        export PATH
    fi
    say "registry: $(command -v docker-registry)"
}
