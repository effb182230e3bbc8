"""The frozen values that flow through a run: spec and facts in, plan, outcome and record out.

    argv / decorator -> RunSpec -> probe -> Facts -> plan -> Plan -> build, run -> Outcome -> Record

What the user asked for, what was found, what will be done, what happened: a file each. Nothing
here has an effect. `Record` is the schema of `run.json`; see `reprorun.store` for reading
and writing it.
"""

from __future__ import annotations

from .asked import Changes, Gpus, Limits, RunSpec, Secret, Variation
from .base import Network, Numerics, Status, Value
from .code import Code, InputFile, LeftOut, Submodule
from .engines import (
    Change,
    ContainerSpec,
    ContainerState,
    DeviceNode,
    EngineInfo,
    GpuRequest,
    Image,
    ImageSpec,
    ListedContainer,
    Mount,
)
from .hardware import Gpu, GpusSeen, Hardware
from .names import (
    DIGEST_LABEL,
    ENTRYPOINT,
    ENVIRONMENT,
    HOME,
    HOSTNAME,
    HOSTS_FILE,
    HOSTS_PATH,
    KIND_LABEL,
    LOG_DIR,
    PREFIX,
    REVISION_LABEL,
    RUN_LABEL,
    SECRETS,
    SHIMS,
    STOP_SIGNAL,
    WORKSPACE,
)
from .packages import (
    BaseImage,
    GitSource,
    Lock,
    Package,
    Pinned,
    RemoteFile,
    Requirements,
    RequirementsKind,
    Source,
    Wanted,
)
from .planned import EnvironmentPlan, Plan
from .record import (
    SCHEMA,
    Archive,
    Difference,
    EngineUsed,
    GuestReport,
    Outcome,
    Output,
    Record,
    SchemaMark,
)

__all__ = [
    "Archive",
    "BaseImage",
    "Change",
    "Changes",
    "Code",
    "ContainerSpec",
    "ContainerState",
    "DIGEST_LABEL",
    "DeviceNode",
    "Difference",
    "ENTRYPOINT",
    "ENVIRONMENT",
    "EngineInfo",
    "EngineUsed",
    "EnvironmentPlan",
    "GitSource",
    "Gpu",
    "GpuRequest",
    "Gpus",
    "GpusSeen",
    "GuestReport",
    "HOME",
    "HOSTNAME",
    "HOSTS_FILE",
    "HOSTS_PATH",
    "Hardware",
    "Image",
    "ImageSpec",
    "InputFile",
    "KIND_LABEL",
    "LOG_DIR",
    "LeftOut",
    "Limits",
    "ListedContainer",
    "Lock",
    "Mount",
    "Network",
    "Numerics",
    "Outcome",
    "Output",
    "PREFIX",
    "Package",
    "Pinned",
    "Plan",
    "REVISION_LABEL",
    "RUN_LABEL",
    "Record",
    "RemoteFile",
    "Requirements",
    "RequirementsKind",
    "RunSpec",
    "SCHEMA",
    "SECRETS",
    "SHIMS",
    "STOP_SIGNAL",
    "SchemaMark",
    "Secret",
    "Source",
    "Status",
    "Submodule",
    "Value",
    "Variation",
    "WORKSPACE",
    "Wanted",
]
