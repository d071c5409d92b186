"""What `quiver serve` prints before it starts: the address, where the credentials are, a snippet to paste."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from quiver.cli.credentials import Source
from quiver.server.credentials import weakness

if TYPE_CHECKING:
    from quiver.cli.credentials import KeyPair
    from quiver.settings import Settings

SNIPPET = """\
import boto3{modules}
keys = {keys}
s3vectors = boto3.client("s3vectors", endpoint_url="{url}", region_name="{region}", **keys)
s3vectors.create_vector_bucket(vectorBucketName="demo")
s3vectors.create_index(vectorBucketName="demo", indexName="words", dataType="float32",
    dimension=3, distanceMetric="cosine")
s3vectors.put_vectors(vectorBucketName="demo", indexName="words", vectors=[
    {{"key": "king", "data": {{"float32": [0.9, 0.1, 0.0]}}, "metadata": {{"kind": "person"}}}},
    {{"key": "apple", "data": {{"float32": [0.0, 0.2, 0.9]}}, "metadata": {{"kind": "fruit"}}}}])
print(s3vectors.query_vectors(vectorBucketName="demo", indexName="words", topK=1, returnDistance=True,
    queryVector={{"float32": [1.0, 0.2, 0.0]}}, filter={{"kind": "person"}})["vectors"])
"""


def endpoint(settings: Settings) -> str:
    """The URL a client on this machine uses."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host).strip("[]")  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def snippet(settings: Settings, pair: KeyPair) -> str:
    """A boto3 program to paste. Only credentials generated a moment ago stand in it; others are looked up."""
    modules, keys = _keys(pair)
    return SNIPPET.format(modules=modules, keys=keys, url=endpoint(settings), region=settings.region)


def _keys(pair: KeyPair) -> tuple[str, str]:
    """Further modules to import, and a Python expression of a dictionary with both keys."""
    match pair.source:
        case Source.GENERATED:
            values = {"aws_access_key_id": pair.access_key_id, "aws_secret_access_key": pair.secret_access_key}
            return "", json.dumps(values)
        case Source.ENVIRONMENT:
            names = ("access_key_id", "secret_access_key")
            looked_up = (f'"aws_{name}": os.environ["QUIVER_{name.upper()}"]' for name in names)
            return ", os", f"{{{', '.join(looked_up)}}}"
        case Source.PRINCIPALS:
            return (
                ", tomllib",
                f'{{"aws_access_key_id" if name == "id" else "aws_session_token" if name == "token" else '
                f'"aws_secret_access_key": value for name, value in '
                f'tomllib.load(open({str(pair.file)!r}, "rb"))["principals"][0]["keys"][0].items()}}',
            )
        case Source.FILE:
            return (
                ", configparser",
                f'(file := configparser.RawConfigParser()).read({str(pair.file)!r}) and file["default"]',
            )


def greeting(settings: Settings, pair: KeyPair) -> str:
    """The whole text, credentials included on the start that generated them and never again."""
    admin = f"http://{settings.admin_host}:{settings.admin_port}"
    lines = [f"Quiver serves {settings.root} on {endpoint(settings)}  (metrics: {admin}/metrics)", ""]
    if pair.source is Source.GENERATED:
        kept = f"they are kept in {pair.file}" if pair.file else "they end with this process"
        lines += [
            f"Credentials were generated now and are shown this once; {kept}.",
            f"  access key id      {pair.access_key_id}",
            f"  secret access key  {pair.secret_access_key}",
            "",
        ]
    if problem := weakness(pair.access_key_id, pair.secret_access_key):
        lines += [f"Warning: {problem}. Quiver would refuse to listen off this machine with it.", ""]
    lines += ["Paste into Python:", "", snippet(settings, pair)]
    return "\n".join(lines)
