"""The one part of the package definition that pyproject.toml has no stable place for: the C extension."""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("src/quiver/ann/native")
# Fused multiplications would make results depend on the processor; errno would cost a call per square root.
FLAGS = [
    "-std=c11",
    "-O3",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-g0",
    "-Wall",
    "-Wextra",
]

setup(
    ext_modules=[
        Extension(
            "quiver.ann._kernels",
            sources=sorted(map(str, NATIVE.glob("*.c"))),
            depends=sorted(map(str, NATIVE.glob("*.h"))),
            extra_compile_args=FLAGS,
        )
    ]
)
