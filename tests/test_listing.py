"""Lists in messages."""

import pytest

from stc_ops.listing import first_few


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        ("a", "a"),
        ("abc", "a, b, c"),
        ("abcd", "a, b, c and 1 more"),
        (range(300), "0, 1, 2 and 297 more"),
    ],
)
def test_first_few(items, text):
    assert first_few(items) == text


def test_another_separator():
    assert first_few("abcd", "; ") == "a; b; c and 1 more"
