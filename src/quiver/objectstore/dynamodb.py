"""A commit table in Amazon DynamoDB: conditional puts, strongly consistent reads, no expiry.

Partition key `root` (the root's URL and the space), sort key `name`. Needs boto3, the extra `aws`. Each call is
one request without repetitions by the SDK: what a lost answer means is for the caller to find out.
"""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from quiver.model.errors import CorruptObjectError
from quiver.objectstore.commit_table import OBJECTS, UPLOADS, CommitTable, Item
from quiver.objectstore.keys import AFTER_ANY_KEY, MAX_KEY_LENGTH, is_key
from quiver.objectstore.spending import Spent, tell
from quiver.objectstore.store import StoreMisconfiguredError, StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quiver.model.runtime import Runtime

_THREADS = 16
_CONFIG = Config(
    retries={"total_max_attempts": 1, "mode": "standard"},
    connect_timeout=5,
    read_timeout=10,
    max_pool_connections=_THREADS,
)
_NAMES = {"#root": "root", "#name": "name", "#token": "token", "#size": "size", "#modified": "modified"}
_PROJECTION = "#name, #token, #size, #modified, leaving"
_WAITING = "attribute_exists(#name) AND attribute_not_exists(leaving)"
_WRITES = {"put_item", "update_item", "delete_item", "transact_write_items"}
_READS = {"get_item", "query"}
_TOKEN = re.compile(r"[0-9a-f]{32}")
_TAKEN = "ConditionalCheckFailed"
_REFUSALS = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "ResourceNotFoundException",
    "SerializationException",
    "UnrecognizedClientException",
    "ValidationException",
}


class DynamoTable(CommitTable):
    """The names under one root, in a table that several roots may share.

    Args:
        table: name of the table.
        root: the root's URL: what tells its names from those of other roots.
        runtime: a monotonic clock.
        region, endpoint, profile: as the AWS SDKs find them when None.

    Raises: ValueError, when the configuration makes no sense.
    """

    def __init__(
        self,
        table: str,
        root: str,
        runtime: Runtime,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        profile: str | None = None,
    ) -> None:
        self.table = table
        self._root = root
        self._runtime = runtime
        self._offset: float | None = None
        try:
            session = boto3.session.Session(profile_name=profile)
            self._client: Any = session.client(
                "dynamodb",
                region_name=region or os.environ.get("AWS_REGION"),  # boto3 itself reads AWS_DEFAULT_REGION only
                endpoint_url=endpoint,
                config=_CONFIG,
            )
        except BotoCoreError as error:
            raise ValueError(f"cannot use DynamoDB as the commit store: {error}") from error
        # Threads of its own: these wait for the network, and must not keep queries from those that compute.
        self._pool = ThreadPoolExecutor(_THREADS, "dynamodb")

    async def now(self) -> float:
        if self._offset is None:
            await self._check()
        if self._offset is None:
            raise StoreUnavailableError("DynamoDB does not say what time it is")
        return self._runtime.monotonic() + self._offset

    async def create(self, item: Item) -> Item | None:
        try:
            await self._call(self._client.put_item, **self._creation(item))
        except ClientError as error:
            return _decode(error.response["Item"])
        return None

    async def announce(self, upload: Item) -> None:
        item = self._key(UPLOADS, upload.name) | _encode(upload)
        await self._call(self._client.put_item, TableName=self.table, Item=item)

    async def renew(self, upload: Item) -> bool:
        change = self._change(UPLOADS, upload.name, _WAITING, {"#name": "name", "#modified": "modified"})
        values = {":now": _encode(upload)["modified"]}
        try:
            await self._repeatable(
                self._client.update_item,
                UpdateExpression="SET #modified = :now",
                ExpressionAttributeValues=values,
                **change,
            )
        except ClientError:
            return False
        return True

    async def publish(self, item: Item) -> Item | None:
        upload = self._change(UPLOADS, item.token, _WAITING, {"#name": "name"}, answered=False)
        writes = [{"Put": self._creation(item)}, {"Delete": upload}]
        try:
            await self._call(
                self._client.transact_write_items, TransactItems=writes, ClientRequestToken=item.token
            )
        except ClientError as error:
            creation, removal = error.response["CancellationReasons"]
            if creation["Code"] == _TAKEN:
                return _decode(creation["Item"])
            if removal["Code"] == _TAKEN:
                raise StoreUnavailableError(f"the upload for {item.name} took too long and was removed") from error
            codes = f"{creation['Code']}, {removal['Code']}"
            raise StoreUnavailableError(f"DynamoDB did not create {item.name}: {codes}") from error
        return None

    async def read(self, name: str) -> Item | None:
        answer = await self._repeatable(
            self._client.get_item, TableName=self.table, Key=self._key(OBJECTS, name), ConsistentRead=True
        )
        return _decode(answer["Item"]) if "Item" in answer else None

    async def list(self, space: str, prefix: str, after: str = "") -> list[Item]:
        first, last = max(prefix, after), prefix + AFTER_ANY_KEY
        if first >= last:
            return []
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "ProjectionExpression": _PROJECTION,
            "KeyConditionExpression": "#root = :root",
            "ExpressionAttributeNames": _NAMES,
            "ExpressionAttributeValues": {":root": {"S": self._partition(space)}},
        }
        if first:
            request["KeyConditionExpression"] += " AND #name BETWEEN :first AND :last"
            request["ExpressionAttributeValues"] |= {":first": {"S": first}, ":last": {"S": last}}
        found: list[Item] = []
        while True:
            page = await self._repeatable(self._client.query, **request)
            found += (_decode(each) for each in page["Items"])
            if "LastEvaluatedKey" not in page:
                return [item for item in found if item.name > after]
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    async def begin_removal(self, space: str, name: str) -> Item | None:
        try:
            await self._repeatable(self._client.delete_item, **self._change(space, name, "attribute_exists(body)"))
        except ClientError as error:
            item = _decode(error.response["Item"]) if "Item" in error.response else None
        else:
            return None
        if item is None or item.leaving:
            return item
        mark = self._change(space, name, "#token = :token", {"#token": "token"})
        values = {":yes": {"BOOL": True}, ":token": {"S": item.token}}
        try:
            await self._repeatable(
                self._client.update_item,
                UpdateExpression="SET leaving = :yes",
                ExpressionAttributeValues=values,
                **mark,
            )
        except ClientError:
            return None  # removed by somebody else meanwhile
        return item

    async def finish_removal(self, space: str, item: Item) -> None:
        removal = self._change(space, item.name, "#token = :token", {"#token": "token"})
        try:
            await self._repeatable(
                self._client.delete_item, ExpressionAttributeValues={":token": {"S": item.token}}, **removal
            )
        except ClientError:
            return  # the name is gone, or has another token: nothing is left to remove

    async def create_table(self) -> bool:
        """Create the table unless it exists; whether it did. It is billed by request and protected from deletion.

        Raises: StoreRefusedError, StoreUnavailableError.
        """
        try:
            await self._call(
                self._client.create_table,
                TableName=self.table,
                KeySchema=_KEY_SCHEMA,
                AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("root", "name")],
                BillingMode="PAY_PER_REQUEST",
                DeletionProtectionEnabled=True,
            )
        except ClientError:
            created = False
        else:
            created = True
        await self._call(self._client.get_waiter("table_exists").wait, TableName=self.table)
        await self._check()
        return created

    async def _check(self) -> None:
        """Whether the table is one of ours, and keeps what it is given."""
        description = await self._call(self._client.describe_table, TableName=self.table)
        if description["Table"]["KeySchema"] != _KEY_SCHEMA:
            raise StoreRefusedError(f"the DynamoDB table {self.table!r} has other keys than a commit store has")
        try:
            expiry = await self._call(self._client.describe_time_to_live, TableName=self.table)
        except StoreRefusedError:
            return  # no permission to ask
        if expiry["TimeToLiveDescription"]["TimeToLiveStatus"] in ("ENABLING", "ENABLED"):
            raise StoreRefusedError(f"the DynamoDB table {self.table!r} expires items: commits would be lost")

    async def close(self) -> None:
        self._pool.shutdown(wait=False)
        self._client.close()

    def _creation(self, item: Item) -> dict[str, Any]:
        """The parameters that create an item; a conflict is answered with the item that has the name."""
        request = self._change(OBJECTS, item.name, "attribute_not_exists(#name)", {"#name": "name"})
        return request | {"Item": request.pop("Key") | _encode(item)}

    def _change(
        self,
        space: str,
        name: str,
        condition: str,
        names: Mapping[str, str] | None = None,
        *,
        answered: bool = True,
    ) -> dict[str, Any]:
        """The parameters of every conditional request; `answered` with the item when the condition fails."""
        request: dict[str, Any] = {
            "TableName": self.table,
            "Key": self._key(space, name),
            "ConditionExpression": condition,
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        if answered:
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return request

    def _partition(self, space: str) -> str:
        return f"{self._root} {space}"

    def _key(self, space: str, name: str) -> dict[str, Any]:
        return {"root": {"S": self._partition(space)}, "name": {"S": name}}

    async def _repeatable(self, method: Callable[..., Any], **request: Any) -> Any:
        """`_call` of what may be repeated, by the caller, unless it is refused."""
        try:
            return await self._call(method, **request)
        except StoreRefusedError as error:
            raise StoreMisconfiguredError(str(error)) from error

    async def _call(self, method: Callable[..., Any], **request: Any) -> Any:
        """One request. Raises ClientError for a condition that did not hold, or a table that exists already."""

        def work() -> Any:
            try:
                return method(**request)
            except NoCredentialsError as error:
                raise StoreRefusedError("there are no credentials for DynamoDB") from error
            except ClientError as error:
                if error.response["Error"]["Code"] in _ANSWERS:
                    raise
                raise self._failure(error) from error
            except (BotoCoreError, OSError) as error:
                raise StoreUnavailableError(f"DynamoDB does not answer: {error}") from error

        operation = getattr(method, "__name__", "")
        if operation in _WRITES | _READS:
            request["ReturnConsumedCapacity"] = "TOTAL"
        answer = None
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            if operation in _WRITES:
                tell(Spent(table_writes=_units(answer)))
            elif operation in _READS:
                tell(Spent(table_reads=_units(answer)))
        self._note_time(answer)
        return answer

    def _failure(self, error: ClientError) -> Exception:
        code = error.response["Error"]["Code"]
        if code == "ResourceNotFoundException":
            return StoreRefusedError(
                f"there is no DynamoDB table {self.table!r}: create it with `quiver doctor URL --create-table`"
            )
        kind = StoreRefusedError if code in _REFUSALS else StoreUnavailableError
        return kind(f"DynamoDB, table {self.table!r}: {code}: {error.response['Error'].get('Message', '')}")

    def _note_time(self, answer: Any) -> None:
        """Every answer says what time it is there: to a second, and earlier than now by how long it travelled."""
        headers = (answer or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if "date" in headers:
            self._offset = parsedate_to_datetime(headers["date"]).timestamp() - self._runtime.monotonic()


_KEY_SCHEMA = [{"AttributeName": "root", "KeyType": "HASH"}, {"AttributeName": "name", "KeyType": "RANGE"}]
_ANSWERS = {"ConditionalCheckFailedException", "TransactionCanceledException", "ResourceInUseException"}


def _units(answer: Any) -> float:
    """Request units, as the answer says; one where it does not, as when a condition did not hold."""
    told = (answer or {}).get("ConsumedCapacity") or []
    return float(sum(each["CapacityUnits"] for each in (told if isinstance(told, list) else [told]))) or 1.0


def _encode(item: Item) -> dict[str, Any]:
    values: dict[str, Any] = {
        "token": {"S": item.token},
        "size": {"N": str(item.size)},
        "modified": {"N": f"{item.modified:.3f}"},
    }
    return values if item.body is None else values | {"body": {"B": item.body}}


def _decode(values: Mapping[str, Any]) -> Item:
    """Raises: CorruptObjectError, for an item that none of ours wrote."""
    try:
        body = values.get("body", {}).get("B")
        item = Item(
            values["name"]["S"],
            values["token"]["S"],
            int(values["size"]["N"]),
            float(values["modified"]["N"]),
            None if body is None else bytes(body),
            bool(values.get("leaving", {}).get("BOOL", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptObjectError(f"an item of the commit table cannot be read: {error!r}") from error
    if (
        not is_key(item.name)
        or not _TOKEN.fullmatch(item.token)
        or (body is not None and item.size != len(item.body or b""))
    ):
        raise CorruptObjectError(f"the item {item.name[:MAX_KEY_LENGTH]!r} of the commit table makes no sense")
    return item
