"""Ids and dice of the demo shop: what looks like chance follows from names, so that it can be told again any day."""

from __future__ import annotations

from hashlib import blake2b

_OPENED = 1_772_409_600  # 2 March 2026


def dice(name: str) -> int:
    """A number of 128 bits that belongs to a name: the same one always, and unlike any other name's."""
    return int.from_bytes(blake2b(name.encode(), digest_size=16).digest())


def named_id(name: str) -> str:
    """The UUID (version 8) that belongs to a name."""
    h = f"{dice(name):032x}"
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-a{h[17:20]}-{h[20:]}"


def timed_id(second: int, bits: int) -> str:
    """A UUID (version 7) that begins with a time, in seconds since the shop opened, and ends with 72 bits of chance.

    The time is told as if every shop had opened at the same moment, so that what follows from an id, such as an order's
    fate, does not hang on the date on which the shop opens. Ids made one after the other lie close together in an
    index: a day's load touches a few pages of it, not all.
    """
    h = f"{(_OPENED + second) * 1000:012x}{bits:018x}"
    return f"{h[:8]}-{h[8:12]}-7{h[12:15]}-a{h[15:18]}-{h[18:]}"


def sibling_id(timed: str, name: str) -> str:
    """The id of something that belongs to the bearer of a timed id, such as an order's session; close to it as well."""
    h = f"{dice(timed + name):032x}"
    return f"{timed[:14]}7{h[:3]}-a{h[3:6]}-{h[6:18]}"
