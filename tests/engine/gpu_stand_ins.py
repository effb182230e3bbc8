"""Engines with stand-ins for what only machines with GPUs have: NVIDIA's hook, runtime, nvidia-smi.

The engines are real, and gone with what they have been given when a block ends.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import docker

from ..kit import BASE
from .daemon import daemon, hand_over

SMI = r"""#!/bin/sh
# A stand-in for nvidia-smi.
card() {
    echo "<gpu id='$1'><product_name>Stand-in $1</product_name>"
    echo "<fb_memory_usage><total>16384 MiB</total></fb_memory_usage></gpu>"
}
echo "<nvidia_smi_log><driver_version>550.1</driver_version><cuda_version>12.4</cuda_version>"
case ",$NVIDIA_VISIBLE_DEVICES," in *,0,*|,all,) card 0 ;; esac
case ",$NVIDIA_VISIBLE_DEVICES," in *,1,*|,all,) card 1 ;; esac
echo "</nvidia_smi_log>"
"""


class Place(NamedTuple):
    """An engine with stand-ins, and what they have been told."""

    address: str
    base: str
    told: Path

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.address, "REPRORUN_BASE_IMAGE": self.base}


def _executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def base_with_nvidia_smi(address: str) -> str:
    """The base image with the stand-in, on another engine; gone with it."""
    tag = "reprorun-test/with-nvidia-smi:1"
    files = {"nvidia-smi": SMI, "Dockerfile": f"FROM {BASE}\nCOPY nvidia-smi /usr/local/bin/\n"}
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    context.seek(0)
    with closing(docker.DockerClient(base_url=address, timeout=120)) as engine:
        engine.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    return tag


@contextmanager
def _with_stand_ins(place: Path, *arguments: str) -> Iterator[Place]:
    """An engine that is started with these arguments, and what lies in `place/bin`."""
    with daemon(arguments, place / "bin") as made:
        hand_over(BASE, made.address)
        yield Place(made.address, base_with_nvidia_smi(made.address), place / "told")


@contextmanager
def nvidia_hook(place: Path) -> Iterator[Place]:
    """Docker with a stand-in for the hook that it looks for when it starts."""
    hook = f'#!/bin/sh\necho "$*" >>{place}/told\nexec cat >/dev/null\n'
    _executable(place / "bin/nvidia-container-runtime-hook", hook)
    with _with_stand_ins(place) as made:
        yield made


@contextmanager
def nvidia_runtime(place: Path) -> Iterator[Place]:
    """Docker with a stand-in for the `nvidia` runtime."""
    script = f'#!/bin/sh\necho "$*" >>{place}/told\nexec runc "$@"\n'
    runtime = _executable(place / "bin/nvidia-container-runtime", script)
    with _with_stand_ins(place, "--add-runtime", f"nvidia={runtime}") as made:
        yield made
