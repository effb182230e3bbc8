# A Docker Engine that answers: the one that is there, or one installed and started here.
# Sourced after common.sh and python.sh.
# shellcheck shell=bash

ENGINE_LOCK=/run/reprorun-engine.lock # only root starts an engine, so only root needs the lock

engine() { "${PYTHON:-python3}" "$LIB/engine.py" "$@"; }

engine_address() { printf '%s' "${DOCKER_HOST:-unix:///var/run/docker.sock}"; }

# probe_engine: sets ENGINE_VERSION, or returns engine.py's status.
probe_engine() { ENGINE_VERSION=$(engine ping 2>/dev/null); }

# alive PID [NAME]: does the process run, as NAME? One that is dead and not yet reaped does not.
alive() {
    [[ $1 =~ ^[0-9]+$ ]] && grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status" || return 1
    [[ -z ${2:-} || $(cat "/proc/$1/comm" 2>/dev/null) == "$2" ]]
}

# wait_for_engine SECONDS [PID]: until it answers, the time is over, or the process has ended.
wait_for_engine() {
    local end=$((SECONDS + $1))
    until probe_engine; do
        ((SECONDS < end)) || return 1
        if [[ -n ${2:-} ]] && ! alive "$2"; then
            probe_engine # it may have left because another one was faster
            return
        fi
        sleep 0.3
    done
}

# use_docker_context: where the client has a context in use, its socket is the engine's address.
use_docker_context() {
    [[ -z ${DOCKER_HOST:-} ]] && have docker || return 0
    local address
    address=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || return 0
    case $address in
    '' | unix:///var/run/docker.sock) ;;
    *) export DOCKER_HOST=$address ;;
    esac
}

# running FILE NAME: does the process whose id is in FILE run, and is it a NAME? Prints its id.
running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && alive "$pid" "$2" && printf '%s' "$pid"
}

# forget_dead_daemons: a killed dockerd leaves pid files; the next one trusts them and gives up,
# or waits in vain, though the process is gone or its number is another program's now.
forget_dead_daemons() {
    running /var/run/docker.pid dockerd >/dev/null || rm -f /var/run/docker.pid
    local file=/var/run/docker/containerd/containerd.pid
    running "$file" containerd >/dev/null || rm -f "$file"
}

install_engine() {
    local packages=(docker.io xz-utils iptables ca-certificates)
    apt_update
    # From Debian 13 on the client is a package of its own.
    if ! have docker && [[ -n $(apt-cache --names-only search '^docker-cli$') ]]; then
        packages+=(docker-cli)
    fi
    apt_install "${packages[@]}"
    wait_for_engine 3 || true # the package may have started it
}

start_with_systemd() {
    [[ -d /run/systemd/system ]] && have systemctl || return 1
    systemctl start docker >/dev/null 2>&1 && wait_for_engine 60
}

# start_dockerd: as a daemon of its own session, which outlives this script.
start_dockerd() {
    local log=/var/log/reprorun-dockerd.log pid
    { : >"$log"; } 2>/dev/null || log=$(mktemp -t reprorun-dockerd.XXXXXX)
    say "starting dockerd (its log: $log)"
    setsid dockerd </dev/null >"$log" 2>&1 &
    pid=$!
    wait_for_engine 60 "$pid" || die "dockerd did not come up: $(last_line "$log") (log: $log)"
}

# start_engine: called with the lock held; another run may have started it meanwhile.
start_engine() {
    probe_engine && return
    local pid
    need_disk /var/lib/docker 3
    have dockerd || install_engine
    probe_engine && return
    if pid=$(running /var/run/docker.pid dockerd); then
        wait_for_engine 30 "$pid" && return
        ! alive "$pid" dockerd || die "dockerd (process $pid) runs but does not answer on $(engine_address): \
look at its log, or end it and run this again"
    fi
    start_with_systemd && return
    forget_dead_daemons
    start_dockerd
}

# refuse_engine STATUS: why no engine can be had here, in one line.
refuse_engine() {
    local address
    address=$(engine_address)
    if [[ $1 -eq 2 ]]; then
        die "$(engine ping 2>&1)"
    elif [[ $1 -eq 3 ]]; then
        die "permission denied on the socket $address: add yourself to the docker group \
(sudo usermod -aG docker $(id -un)) and log in again"
    elif [[ -n ${DOCKER_HOST:-} ]]; then
        die "no Docker Engine answers at DOCKER_HOST=$address: start it, or unset DOCKER_HOST"
    elif ! is_root && have dockerd; then
        die "no Docker Engine answers at $address: start it (sudo systemctl start docker), \
or run this once as root"
    elif ! can_apt; then
        die "no Docker Engine answers at $address, and it can be installed from here only as root \
on Debian or Ubuntu: run this once with sudo, or set DOCKER_HOST to an engine that runs"
    fi
}

# ensure_engine: sets ENGINE_VERSION.
ensure_engine() {
    local status=0
    use_docker_context
    probe_engine || status=$?
    if [[ $status -ne 0 ]]; then
        if [[ -n ${DOCKER_HOST:-} || $status -eq 3 ]] || ! is_root || ! { have dockerd || can_apt; }; then
            refuse_engine "$status"
        fi
        # -o: nothing started under the lock keeps it.
        flock -o "$ENGINE_LOCK" "$LIB/start-engine" || exit 1
        probe_engine || die "the Docker Engine stopped answering at $(engine_address) right after its start"
    fi
    say "engine: Docker $ENGINE_VERSION at $(engine_address)"
}
