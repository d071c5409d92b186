"""`quiver create-bucket` and `create-index`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from quiver.cli.opening import opened
from quiver.cli.output import Exit, show_json
from quiver.library.connection import AsyncBucket

if TYPE_CHECKING:
    from collections.abc import Mapping


async def create_bucket(root: str, bucket: str, *, as_json: bool) -> Exit:
    """Create a bucket. Raises QuiverError, SettingsError, as all commands here do."""
    async with opened(root, create=True) as open_root:
        await open_root.call("CreateVectorBucket", {"vectorBucketName": bucket})
    if as_json:
        show_json({"root": root, "bucket": bucket})
    else:
        typer.echo(f"bucket {bucket} created")
    return Exit.OK


async def create_index(root: str, bucket: str, index: str, options: Mapping[str, Any], *, as_json: bool) -> Exit:
    """Create an index; `options` are those of the library's `create_index`."""
    async with opened(root) as open_root:
        await AsyncBucket(open_root, bucket).create_index(index, **options)
    if as_json:
        show_json({"root": root, "bucket": bucket, "index": index})
    else:
        typer.echo(f"index {bucket}/{index} created")
    return Exit.OK
