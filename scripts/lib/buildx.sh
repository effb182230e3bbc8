# docker buildx for the tests: the client's own, or the plugin of a Debian package.
# Sourced after common.sh and debian.sh.
# shellcheck shell=bash

PLUGIN=docker-buildx

# find_plugin: the directory of a plugin that is installed, in the order of docker's client.
find_plugin() {
    local directory
    for directory in "${DOCKER_CONFIG:-${HOME:-}/.docker}" /usr/local/lib/docker /usr/local/libexec/docker \
        /usr/lib/docker /usr/libexec/docker; do
        if [[ -x $directory/cli-plugins/$PLUGIN ]]; then
            printf '%s' "$directory/cli-plugins"
            return
        fi
    done
    return 1
}

# ensure_buildx: exports REPRORUN_TEST_BUILDX, the directory of the plugin.
ensure_buildx() {
    have docker || die "docker's client is missing: install it (Debian: docker.io or docker-cli)"
    if [[ -z ${REPRORUN_TEST_BUILDX:-} ]] && ! REPRORUN_TEST_BUILDX=$(find_plugin); then
        # Debian 12 does not have it; that of the next release needs nothing but a C library
        unpack_debian "$PLUGIN" "usr/libexec/docker/cli-plugins/$PLUGIN" trixie ||
            die "docker buildx is missing, and this machine's apt does not have it: install it, or \
name the directory of the program docker-buildx in REPRORUN_TEST_BUILDX"
        REPRORUN_TEST_BUILDX=$(dirname "$UNPACKED")
    fi
    export REPRORUN_TEST_BUILDX
    say "buildx: $("$REPRORUN_TEST_BUILDX/$PLUGIN" version)"
}
