"""Variables by which numerical libraries choose their code: one for all machines, or another's.

Libraries look at the processor and take the fastest code for it, and that code rounds otherwise.
Each has a variable of its own that says how much of the processor it may use.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_AVX512 = (
    *("AVX512F", "AVX512CD", "AVX512_KNL", "AVX512_KNM", "AVX512_SKX", "AVX512_CLX"),
    *("AVX512_CNL", "AVX512_ICL", "AVX512_SPR"),
)
_X86_V4 = ("X86_V4", *_AVX512)  # how numpy names it since 2.4, and before
_X86_V3 = ("X86_V3", "AVX", "F16C", "FMA3", "AVX2", "FMA4", "XOP")
_ARM_MORE = ("SVE", "ASIMDFHM")

_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)

_HASWELL = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": " ".join(_X86_V4),
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD",
}
_NEHALEM = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": " ".join((*_X86_V4, *_X86_V3)),
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ATEN_CPU_CAPABILITY": "default",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-FMA4",
}

GENERATIONS: Final = MappingProxyType(
    {
        "nehalem": _NEHALEM,  # x86-64-v2
        "haswell": _HASWELL,  # x86-64-v3
        "zen": {**_HASWELL, "OPENBLAS_CORETYPE": "Zen"},  # the same from another maker
        "skylakex": {"OPENBLAS_CORETYPE": "SkylakeX", "ATEN_CPU_CAPABILITY": "avx512"},  # v4
    }
)
"""Generations of processors, and the variables that make libraries behave as on one of them."""

_PORTABLE: Final = {
    "x86_64": {
        **_HASWELL,
        "MKL_CBWR": "AVX2,STRICT",
        "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    },
    "aarch64": {"OPENBLAS_CORETYPE": "ARMV8", "NPY_DISABLE_CPU_FEATURES": " ".join(_ARM_MORE)},
}


def threads(number: int) -> dict[str, str]:
    """Variables that give numerical libraries so many threads."""
    return dict.fromkeys(_THREADS, str(number))


def portable(machine: str) -> dict[str, str]:
    """Variables with which numbers come out the same on every machine of an architecture.

    Code for x86-64-v3 and armv8, which all of them can run (since 2013), and one thread: the order
    in which several come to add up is another each time.

    Args:
        machine: as the base image has it, such as x86_64.
    """
    return {**_PORTABLE.get(machine, {}), **threads(1), "MKL_DYNAMIC": "FALSE"}


def emulates(generation: str, features: tuple[str, ...]) -> bool:
    """Whether a processor can run the code of a generation."""
    needed = {"nehalem": "sse4_2", "haswell": "avx2", "zen": "avx2", "skylakex": "avx512f"}
    return needed[generation] in features
