"""The client: method names, arguments, results and errors of boto3's `s3vectors` client, without HTTP.

Its methods are generated from the operation table, so they cannot drift from what the server serves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

from quiver.library.errors import Exceptions, client_error
from quiver.library.plain import from_answer, to_model
from quiver.library.structure import as_tags
from quiver.library.sync import synchronous
from quiver.model.errors import QuiverError
from quiver.service.extensions import SERVED
from quiver.service.structure_tags import CHOICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from quiver.library.caller import Caller
    from quiver.service.operations import Operation

PAGINATED = ("list_indexes", "list_vector_buckets", "list_vectors", "query_vectors")
"""Methods whose answers come in pages (the paginators of the S3 Vectors model)."""
EXTENDED_PAGINATED = ("list_vectors_by_filter", "query_vectors_with_data")
"""The same for the extensions."""


_PLAIN: tuple[tuple[str, ...], Callable[[dict[str, Any]], dict[str, Any]]] = ((), dict)
_EXTENDED = {"CreateIndex": (CHOICES, as_tags)}
"""Arguments beyond those of the operation's input, and how they become such."""


def method_name(operation: str) -> str:
    """boto3's name of an operation: PutVectors becomes put_vectors."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


class AsyncPaginator:
    """Walks the pages of one operation: `async for page in paginator.paginate(...)`."""

    def __init__(self, method: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        self._method = method

    async def paginate(self, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """The answers, page by page. `PaginationConfig` takes `PageSize` and `StartingToken`, as in boto3."""
        config = arguments.pop("PaginationConfig", None) or {}
        if "PageSize" in config:
            arguments["maxResults"] = config["PageSize"]
        token = config.get("StartingToken")
        while True:
            page = await self._method(**arguments, **({} if token is None else {"nextToken": token}))
            yield page
            token = page.get("nextToken")
            if token is None:
                return


class AsyncClient:
    """Every operation of S3 Vectors, and every extension, as a method. Close it, or use it as a context manager.

    Arguments are those of boto3; a NumPy array may stand wherever a list of numbers may, and `create_index` takes
    `partitioner`, `codec` and `recall` too, which are sent as the tags that choose the index structure. Errors are
    `client.exceptions.ClientError` and its subclasses, e.g. `client.exceptions.NotFoundException`.
    """

    def __init__(self, caller: Caller, close: Callable[[], Awaitable[None]]) -> None:
        self._caller = caller
        self._close = close
        self._exceptions = Exceptions()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def exceptions(self) -> Exceptions:
        """The error classes by name."""
        return self._exceptions

    async def close(self) -> None:
        """Finish background work and release everything."""
        await self._close()

    def can_paginate(self, operation_name: str) -> bool:
        """Whether a method has a paginator."""
        return operation_name in PAGINATED + EXTENDED_PAGINATED

    def get_paginator(self, operation_name: str) -> AsyncPaginator:
        """The paginator of a method. Raises: ValueError when it has none."""
        if not self.can_paginate(operation_name):
            names = ", ".join(PAGINATED + EXTENDED_PAGINATED)
            raise ValueError(f"{operation_name} has no pages; these have: {names}")
        return AsyncPaginator(getattr(self, operation_name))

    async def _call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        given = {name: to_model(value) for name, value in arguments.items()}
        try:
            response = await self._caller(operation, given)
        except QuiverError as error:
            raise client_error(error, operation) from error
        headers = {} if response.commit is None else {"x-quiver-commit": str(response.commit)}
        metadata = {"HTTPStatusCode": 200, "HTTPHeaders": headers, "RetryAttempts": 0}
        return {"ResponseMetadata": metadata, **from_answer(response.body)}


def _method(operation: Operation) -> Callable[..., Awaitable[dict[str, Any]]]:
    more, to_input = _EXTENDED.get(operation.name, _PLAIN)
    arguments_taken = (*operation.input.members, *more)
    known = frozenset(arguments_taken)
    name = method_name(operation.name)

    async def call(self: AsyncClient, /, **arguments: Any) -> dict[str, Any]:
        if unknown := arguments.keys() - known:
            raise TypeError(f"{name}() got an unexpected argument {min(unknown)!r}; it takes {', '.join(known)}")
        return await self._call(operation.name, to_input(arguments))

    call.__name__ = name
    call.__qualname__ = f"AsyncClient.{name}"
    call.__doc__ = f"{operation.name}. Arguments: {', '.join(arguments_taken)}."
    return call


for _operation in SERVED.values():
    setattr(AsyncClient, method_name(_operation.name), _method(_operation))

synchronous(AsyncPaginator, "Paginator")
Client = synchronous(AsyncClient, "Client")
