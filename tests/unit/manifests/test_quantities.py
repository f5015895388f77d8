"""Kubernetes quantities."""

from fractions import Fraction

import pytest

from podium.manifests.quantities import parse_quantity, whole


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("500m", Fraction(1, 2)),
        ("1.5", Fraction(3, 2)),
        ("10Gi", 10 * 2**30),
        ("2k", 2000),
        ("1e3", 1000),
        ("1E", 10**18),
        ("+5Gi", 5 * 2**30),
        ("3Ki", 3072),
        ("100u", Fraction(1, 10_000)),
        (2, 2),
        (0.5, Fraction(1, 2)),
    ],
)
def test_a_quantity_is_read_exactly(text: str | int | float, number: int | Fraction) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1 Gi", "Gi", "1gi", "1e", "abc"])
def test_what_is_no_quantity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity: write a number"):
        parse_quantity(text)


def test_parts_of_a_core_count_as_a_whole_one() -> None:
    assert [whole(text) for text in ("100m", "1", "1001m")] == [1, 1, 2]
