"""The one part of the package definition that pyproject.toml has no stable place for: the C extensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from setuptools import Extension, setup

SOURCE = Path("src/quiver")
ANN, TEXT = SOURCE / "ann/native", SOURCE / "text/native"
FORMAT, FILES = SOURCE / "format/native", SOURCE / "objectstore/native"
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


def extension(name: str, folder: Path, *shared: Path) -> Extension:
    """An extension of all C files of a folder, and of some from elsewhere."""
    return Extension(
        name,
        sources=sorted(map(str, [*folder.glob("*.c"), *shared])),
        depends=sorted(map(str, [*folder.glob("*.h"), *ANN.glob("*.h")])),
        include_dirs=[str(ANN), np.get_include()],
        extra_compile_args=FLAGS,
    )


setup(
    ext_modules=[
        extension("quiver.ann._kernels", ANN),
        extension("quiver.text._kernels", TEXT, ANN / "arguments.c"),
        extension("quiver.format._kernels", FORMAT, ANN / "arguments.c"),
        extension("quiver.objectstore._files", FILES),
    ]
)
