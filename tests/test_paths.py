"""One resource has one path, however it is spelled: what generations are kept under."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from verbguard.records import _LINEAGES, canonical, lineage

SPELLINGS = [
    ("7", ["07", "007", "+7", "7.0", "7.00", " 7", "7 ", "0_7", "+07", "7e0", "7E0", "70e-1", "\uff17", "\u0667"]),
    ("0", ["00", "-0", "+0", "0.0", "000"]),
    ("-7", ["-07", "-7.0"]),
    ("10", ["1_0", "1e1", "1E1", "10.0", "\uff11\uff10"]),
    ("7.5", ["07.5", "7.50", "+7.5"]),
    (
        "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        [
            "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9",
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "{0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9}",
            "urn:uuid:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        ],
    ),
]


@pytest.mark.parametrize(("plain", "spelled"), [(plain, each) for plain, others in SPELLINGS for each in others])
def test_spellings_of_one_value_are_one_path(plain: str, spelled: str) -> None:
    """What a router's converter or a framework's parameter type takes for the same value has one generation."""
    assert canonical(spelled) == canonical(plain)
    assert lineage(f"/items/{spelled}/parts/{spelled}") == lineage(f"/items/{plain}/parts/{plain}")


@settings(deadline=None)
@given(st.uuids())
@example(UUID("00000000-0000-0000-0000-0000000001e5"))
@example(UUID("10000000-0000-0000-0000-000000000000"))
@example(UUID("00000000-0000-0000-0000-000000000000"))
@example(UUID("00000000-0000-0000-0000-00000000000e"))
@example(UUID("00010000-0000-0000-0000-000000000000"))
def test_spellings_of_a_uuid_are_one_path(value: UUID) -> None:
    """With dashes or without, in either case, in braces or as a URN."""
    spellings = [str(value), str(value).upper(), value.hex, value.hex.upper(), f"{{{value}}}", value.urn]
    assert len({canonical(each) for each in spellings}) == 1


@settings(deadline=None)
@given(st.integers(), st.integers(0, 3), st.sampled_from(["", ".0", ".00"]))
@example(10**28, 3, "")
def test_spellings_of_an_integer_are_one_path(value: int, zeros: int, tail: str) -> None:
    """With leading zeros, a plus, or decimals that say nothing."""
    sign, digits = "-" * (value < 0), "0" * zeros + str(abs(value))
    assert canonical(sign + digits + tail) == canonical(str(value))
    assert canonical(("" if value < 0 else "+") + sign + digits) == canonical(str(value))


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_has_one_canonical_path(path: str) -> None:
    """Whatever a client writes, nothing is raised; the ancestors are those of the path, the root first."""
    here, above = lineage("/" + path)
    assert all(here.startswith(each + "/") for each in above)
    assert list(above) == sorted(above, key=len)
    assert above[:1] in ((), ("",))
    assert lineage("/" + path) == (here, above)


@settings(deadline=None)
@given(st.text(max_size=20) | st.integers(0, 10**120).map(str))
@example(str(10**100))
@example("0" + str(10**110))
def test_a_path_is_what_its_children_stand_below(segment: str) -> None:
    """However it is spelled: as the target it is what it is as an ancestor."""
    path = "/items/" + segment
    here, above = lineage(path)
    assert lineage(path + "/x")[1] == (*above, here)


@pytest.mark.parametrize(
    ("path", "here", "above"),
    [
        ("", "", ()),
        ("/", "", ()),
        ("/a", "/a", ("",)),
        ("/a/", "/a", ("",)),
        ("//a//b", "/a/b", ("", "/a")),
        ("/a/b/c", "/a/b/c", ("", "/a", "/a/b")),
        ("/items/07", "/items/7", ("", "/items")),
    ],
)
def test_a_lineage(path: str, here: str, above: tuple[str, ...]) -> None:
    """The canonical path and what is above it, the root first."""
    assert lineage(path) == (here, above)


def test_lineages_do_not_fill_memory() -> None:
    """However many paths clients invent, few are remembered, and all come out right."""
    for number in range(1, 10_000):
        assert lineage(f"/many/{number}/x") == (f"/many/{number}/x", ("", "/many", f"/many/{number}"))
    assert len(_LINEAGES) < 5_000
