"""The text form of limits, and refusing what passes one of several."""

from __future__ import annotations

import pytest

from quiver.model.errors import ThrottledError
from quiver.model.token_bucket import SeparateBuckets
from quiver.service.rates import AWS_RATES, Limit, Rates, capacity, check, parse_rates, take


def test_off_and_nothing_are_no_limits() -> None:
    assert parse_rates("off") == parse_rates("") == Rates()


def test_aws_has_the_quotas_of_s3_vectors() -> None:
    assert parse_rates("aws") == AWS_RATES
    assert (AWS_RATES.index_writes, AWS_RATES.index_vectors, AWS_RATES.index_reads) == (1000, 2500, 0)


def test_numbers_come_alone_or_after_aws() -> None:
    assert parse_rates("key_requests=5, key_bytes=1.5") == Rates(key_requests=5, key_bytes=1.5)
    assert parse_rates("aws index_reads=300 index_writes=0") == Rates(index_vectors=2500, index_reads=300)


@pytest.mark.parametrize(
    "text",
    ["on", "off,bytes=1", "off aws", "bytes", "bytes=-1", "bytes=1e9", "bytes=inf", "rate=5", "bytes=1,aws"],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"stands alone|is no limit"):
        parse_rates(text)


def test_workers_divide_the_rates_and_not_what_each_of_them_holds() -> None:
    divided = parse_rates("aws,key_requests=6,key_held_bytes=100").divided(4)
    assert divided == Rates(index_writes=250, index_vectors=625, key_requests=1.5, key_held_bytes=100)


def test_a_limit_below_one_still_lets_a_request_in() -> None:
    assert (capacity(0.1), capacity(20)) == (1, 20)


def test_all_limits_are_taken_from_or_none_and_the_longest_wait_is_told() -> None:
    few = Limit("few", "requests", SeparateBuckets(2, 2))
    many = Limit("many", "bytes", SeparateBuckets(10, 10))
    take([(few, 1), (many, 10)], "a", 0.0)
    with pytest.raises(ThrottledError, match=r"^Rate exceeded: bytes$") as refused:
        take([(few, 1), (many, 5)], "a", 0.0)
    assert (refused.value.limit, refused.value.seconds) == ("many", 0.5)
    check([(few, 1)], "a", 0.0)  # the refused request took nothing of it
    take([(few, 1)], "a", 0.0)
    with pytest.raises(ThrottledError, match="requests"):
        check([(few, 1), (many, 0)], "a", 0.4)
