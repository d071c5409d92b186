"""The contract of the API: what every client sees over every root.

Inherit `ApiContract` and define the fixture `client`: boto3's `s3vectors` client without validation of its own, or
the library's, which has the same methods, results and errors.
"""

from __future__ import annotations

from api.buckets import BucketContract, PolicyContract, TagContract
from api.extensions import ExtensionContract
from api.indexes import IndexContract
from api.queries import FilterContract, QueryContract
from api.structure import StructureContract
from api.texts import TextContract
from api.vectors import ListingContract, MetadataContract, NumberContract, VectorContract


class ApiContract(
    BucketContract,
    PolicyContract,
    TagContract,
    IndexContract,
    StructureContract,
    VectorContract,
    NumberContract,
    MetadataContract,
    ListingContract,
    FilterContract,
    QueryContract,
    TextContract,
    ExtensionContract,
):
    """Every behaviour of the API that does not depend on HTTP."""
