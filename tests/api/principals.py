"""Who has keys of the server over a local directory: its owner, one who may do nothing, and one with a token."""

from __future__ import annotations

from cli.running import KEYS

NOBODY = {"key": "NOBODYKEY1", "secret": "a-secret-of-one-without-policies"}
COURIER = {"key": "COURIERKEY1", "secret": "a-secret-of-one-with-a-token"}
TOKEN = "a-session-token-of-the-courier"
"""The courier's, who may list buckets."""

PRINCIPALS = f"""
[policies]
list = '{{"Statement": {{"Effect": "Allow", "Action": "s3vectors:ListVectorBuckets", "Resource": "*"}}}}'

[[principals]]
name = "owner"
root = true
keys = [{{id = "{KEYS["QUIVER_ACCESS_KEY_ID"]}", secret = "{KEYS["QUIVER_SECRET_ACCESS_KEY"]}"}}]

[[principals]]
name = "nobody"
keys = [{{id = "{NOBODY["key"]}", secret = "{NOBODY["secret"]}"}}]

[[principals]]
name = "courier"
policies = ["list"]
keys = [{{id = "{COURIER["key"]}", secret = "{COURIER["secret"]}", token = "{TOKEN}"}}]
"""
