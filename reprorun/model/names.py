"""Names and places that the host and the container agree on, and the labels of what we make."""

from __future__ import annotations

WORKSPACE = "/workspace"
"""Where the launch archive lies in the container."""

LOG_DIR = "/log"
"""Where the log directory is mounted in the container."""

HOSTS_FILE = ".reprorun-hosts.tmp"
"""In the log directory while a run lasts: the container's /etc/hosts; see `ContainerSpec.hosts`."""

HOSTS_PATH = "/etc/hosts"
"""Where the container has its host names."""

PREFIX = "/opt/reprorun"
"""The virtual environment in the container."""

SHIMS = f"{PREFIX}/shims"
"""Stand-ins for other packages and programs in the container, used by who asks for them."""

SECRETS = "/run/secrets"
"""Where files are mounted that no record keeps."""

HOME = "/home/reprorun"
"""The home directory in the container."""

HOSTNAME = "reprorun"
"""The container's name for itself, the same in every run, but for those on the host's network."""

ENTRYPOINT = ("python", "-I", "-S", f"{PREFIX}/supervise.py")
"""The container's main process, which runs the command."""

STOP_SIGNAL = "SIGPWR"
"""What tells the container's main process to interrupt the command.

Not SIGINT: Python takes that as soon as it starts, and ends with 1 or goes on. Of this one it dies,
and that tells that the command was not begun.
"""

ENVIRONMENT = {
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLBACKEND": "Agg",
}
"""Variables of every environment, beside its search path for programs."""

DIGEST_LABEL = "reprorun.digest"
"""Label of our images: the digest of what each was made from."""

KIND_LABEL = "reprorun.kind"
"""Label of our images: environment, run, system, dockerfile."""

RUN_LABEL = "reprorun.run"
"""Label of our containers: the id of the record, or of whatever else they belong to."""

REVISION_LABEL = "org.opencontainers.image.revision"
"""Label of the run's image: the commit."""
