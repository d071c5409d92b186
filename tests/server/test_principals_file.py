"""The file of principals: what it means, what is refused, and that no error quotes a secret."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from quiver.server.principals_file import Principals, read_principals
from quiver.service.permissions import ACTIONS
from quiver.service.policy.document import Kind, check_names, read_policy
from quiver.service.policy.principals import root_of
from quiver.settings import SettingsError

GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"

HOME = "111111111111"
SECRET = "a-secret-of-a-sensible-length"
POLICY = """[policies]
read = '''{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "s3vectors:Get*", "Resource": "*"}]}'''
"""


def principal(more: str = "", name: str = "ann", key: str = "ANN1") -> str:
    return f'[[principals]]\nname = "{name}"\n{more}\nkeys = [{{id = "{key}", secret = "{SECRET}"}}]\n'


def read(directory: Path, text: str, mode: int = 0o600) -> Principals:
    file = directory / "principals.toml"
    file.write_text(text)
    file.chmod(mode)
    return read_principals(file, HOME)


def test_principals_keys_and_policies(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        f"""{POLICY}
        [[principals]]
        name = "operator"
        root = true
        keys = [{{id = "OP1", secret = "{SECRET}-1"}}, {{id = "OP2", secret = "{SECRET}-2"}}]
        {principal('policies = ["read"]')}
        [[principals]]
        name = "guest"
        account = "222222222222"
        keys = [{{id = "GUEST", secret = "{SECRET}", token = "a-session-token"}}]
        """,
    )
    assert [each.arn for each in found.principals] == [
        f"arn:aws:iam::{HOME}:root",
        f"arn:aws:iam::{HOME}:user/ann",
        "arn:aws:iam::222222222222:user/guest",
    ]
    owner, ann, guest = found.principals
    assert owner == root_of(HOME)
    assert (ann.name, ann.root, len(ann.policies)) == ("ann", False, 1)
    assert (guest.account, guest.policies) == ("222222222222", ())
    keys = found.credentials()
    assert keys.secret("OP2") == f"{SECRET}-2".encode()
    assert {key: keys.holder(key).principal for key in ("OP1", "OP2", "ANN1", "GUEST")} == {
        "OP1": owner,
        "OP2": owner,
        "ANN1": ann,
        "GUEST": guest,
    }
    assert (keys.holder("ANN1").token, keys.holder("GUEST").token) == ("", "a-session-token")
    assert SECRET not in repr(found)
    assert "a-session-token" not in repr(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "principals must be a list"),
        ("principals = []", "no credentials"),
        (f"secret = '{SECRET}", "is not TOML (at end of document)"),
        (f"principal = '{SECRET}'", "the file has an unknown member 'principal'"),
        (f"principals = ['{SECRET}']", "principals[0] must be a table"),
        (f"policies = '{SECRET}'\n{principal()}", "policies must be a table"),
        (f"policies.read = 1\n{principal()}", "policies.read must be a string with a JSON document"),
        (f"policies.read = '{{}}'\n{principal()}", "policies.read: Missing required field Statement"),
        (
            f"{POLICY.replace('s3vectors:Get*', 's3vectors:Got*')}{principal()}",
            "policies.read: Action 's3vectors:Got*' is no action of this service",
        ),
        (principal(name="a b"), "principals[0].name must be 1 to 64"),
        (principal(name=""), "principals[0].name must be 1 to 64"),
        (principal("Root = true"), "principals[0] has an unknown member 'Root'"),
        (principal("root = 1"), "principal ann: root is true or false"),
        (POLICY + principal('root = true\npolicies = ["read"]'), "goes with neither policies nor another account"),
        (principal('root = true\naccount = "222222222222"'), "goes with neither policies nor another account"),
        (principal("account = 111111111111"), "principal ann: account must be 12 digits in quotes"),
        (principal('policies = ["read"]'), "principal ann: policies must be names of [policies]"),
        (principal('policies = "read"'), "principal ann: policies must be a list"),
        (principal() + principal(key="ANN2"), "every principal may be there once only"),
        (principal() + principal(name="bob"), "every access key id may be there once only"),
        (principal("root = true") + principal("root = true", "b", "B"), "every principal may be there once only"),
        ('[[principals]]\nname = "ann"', "principal ann: keys must be a list"),
        (principal().replace("secret", "Secret"), "principal ann: a key has an unknown member 'Secret'"),
        (principal().replace(f'"{SECRET}"', "7"), "principal ann: a key has an id, a secret and perhaps a token"),
        (principal().replace("secret =", 'token = "", secret ='), "perhaps a token, each a string"),
        (principal(key="a/b"), "an access key id has 1 to 128"),
        (principal().replace(SECRET, ""), "a secret access key is printable ASCII"),
        (principal().replace(SECRET, SECRET + " é"), "a secret access key is printable ASCII"),
    ],
)
def test_what_is_not_understood_is_refused_without_a_secret(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read(tmp_path, text)
    assert message in str(refusal.value)
    assert str(tmp_path / "principals.toml") in str(refusal.value)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_principal_without_keys_may_wait_for_them(tmp_path: Path) -> None:
    found = read(tmp_path, principal() + '[[principals]]\nname = "later"\nkeys = []\n')
    assert [each.name for each in found.principals] == ["ann", "later"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match="chmod 600"):
        read(tmp_path, principal(), mode)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read the credentials file"):
        read_principals(tmp_path / "missing.toml", HOME)
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    (tmp_path / "binary.toml").chmod(0o600)
    with pytest.raises(SettingsError, match="not UTF-8"):
        read_principals(tmp_path / "binary.toml", HOME)


def blocks(language: str, heading: str) -> list[str]:
    """The code of one section of the guide."""
    section = GUIDE.read_text().split(f"\n{heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_file_in_the_guide_is_read(tmp_path: Path) -> None:
    (text,) = blocks("toml", "## Who may do what")
    found = read(tmp_path, text)
    assert [each.name for each in found.principals] == ["", "search-app", "acme"]
    assert len(found.keys) == 4


def test_the_bucket_policy_in_the_guide_is_read() -> None:
    (text,) = blocks("python", "### A bucket policy")
    put: dict[str, str] = {}
    exec(text, {"s3vectors": SimpleNamespace(put_vector_bucket_policy=put.update)})
    policy = read_policy(put["policy"], Kind.BUCKET)
    check_names(policy, ACTIONS, Kind.BUCKET)
    assert [statement.denies for statement in policy.statements] == [False, True]
