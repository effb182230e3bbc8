# Debian packages unpacked into a directory, not installed: no service starts, no root is needed.
# Sourced after common.sh.
# shellcheck shell=bash

TOOLS=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/reprorun-test-tools

# debian_mirror: where this machine gets Debian from; nothing where it gets none.
debian_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F '|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
}

# download_own PACKAGE: into the current directory, from the sources of this machine.
download_own() {
    apt-get -q download "$1" >/dev/null 2>&1 && return
    is_root || return 1
    apt_update # the lists have never been fetched, or are old
    apt-get -q download "$1" >/dev/null 2>&1
}

# download_from SUITE PACKAGE: the same from a release of Debian that need not be this machine's;
# lists and sources are apart from the machine's own.
download_from() {
    local mirror apart
    mirror=$(debian_mirror)
    [[ -n $mirror ]] || return 1
    mkdir -p apt/lists apt/cache
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$mirror" "$1" >apt/sources.list
    apart=(-q -o "Dir::Etc::SourceList=$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt/cache" -o Debug::NoLocking=1
        -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3)
    apt-get "${apart[@]}" update >apt/log 2>&1 && apt-get "${apart[@]}" download "$2" >>apt/log 2>&1
}

# unpack_debian PACKAGE FILE [SUITE]: sets UNPACKED to the path of the package's FILE, which is
# unpacked below TOOLS where it is not there yet. SUITE is asked where this machine's own sources
# don't have the package.
unpack_debian() {
    local package=$1 suite=${3:-} work
    UNPACKED=$TOOLS/$package/$2
    [[ -x $UNPACKED ]] && return
    have apt-get && have dpkg-deb || return 1
    need_disk "$TOOLS" 1
    say "fetching $package (apt, not installed: $TOOLS)"
    mkdir -p "$TOOLS"
    work=$(mktemp -d "$TOOLS/.$package.XXXXXX")
    if (cd "$work" && { download_own "$package" || { [[ -n $suite ]] && download_from "$suite" "$package"; }; }) &&
        dpkg-deb -x "$work/$package"_*.deb "$work/unpacked"; then
        rm -rf "${TOOLS:?}/$package"
        mv "$work/unpacked" "$TOOLS/$package"
    fi
    rm -rf "$work"
    [[ -x $UNPACKED ]]
}
