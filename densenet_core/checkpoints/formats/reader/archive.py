"""Zip archives, with the central directory parsed once, so that what is validated is what is used."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..limits import MAX_MEMBERS, READER_OUTPUT
from .output import Damaged, Refused

_END, _END64, _LOCATOR64, _CENTRAL, _LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
_STORED, _DEFLATED = 0, 8
_CHUNK = 2**20
_BROKEN = "the zip archive is cut short or damaged"


class Member(NamedTuple):
    """A file in an archive: its content is at ``offset``, in ``stored`` bytes."""

    name: str
    offset: int
    stored: int
    size: int
    is_deflated: bool


def members(content: Any) -> dict[str, Member]:
    """Return the files of an archive by name; ``content`` is a mapped file.

    Raises:
        Refused: it is damaged, ambiguous (two files with one name or place, two archives in one file), encrypted, or
            uses a compression other than deflate.
    """
    start, size, number = _directory(content)
    if number > MAX_MEMBERS:
        raise Refused(f"the archive holds more than {MAX_MEMBERS:,} files, which no network needs")
    found: dict[str, Member] = {}
    first = start
    position = start
    for _ in range(number):
        member, header, position = _member(content, position, start + size)
        if member.name in found:
            raise Refused(f"the archive holds two files named {member.name[:100]!r}")
        found[member.name] = member
        first = min(first, header)
    ends = 0
    for member in sorted(found.values(), key=lambda m: m.offset):
        if member.offset < ends or member.offset + member.stored > start:
            raise Refused(f"the archive's files overlap: {member.name[:100]!r} is inside another")
        ends = member.offset + member.stored
    if first != 0 or position != start + size:
        raise Refused("the file is more than one archive: save it anew")
    return found


def _directory(content: Any) -> tuple[int, int, int]:
    """Return the offset, size and number of entries of the central directory."""
    place = content.rfind(_END, max(0, len(content) - 65557))
    if place < 0 or place + 22 > len(content):
        raise Damaged(_BROKEN)
    number, size, start, comment = struct.unpack("<HIIH", content[place + 10 : place + 22])
    if place + 22 + comment != len(content):
        raise Damaged(_BROKEN)
    if number == 0xFFFF or 0xFFFFFFFF in (size, start) or content[place - 20 : place - 16] == _LOCATOR64:
        (place,) = struct.unpack("<Q", content[place - 12 : place - 4])
        if content[place : place + 4] != _END64:
            raise Damaged(_BROKEN)
        number, size, start = struct.unpack("<QQQ", content[place + 32 : place + 56])
    if start + size != place:
        raise Refused("the file is more than one archive, or has something in front of one: save it anew")
    return start, size, number


def _member(content: Any, position: int, end: int) -> tuple[Member, int, int]:
    """Return a member, the place of its local header, and the place of the next directory entry."""
    if position + 46 > end or content[position : position + 4] != _CENTRAL:
        raise Damaged(_BROKEN)
    flags, method = struct.unpack("<HH", content[position + 8 : position + 12])
    stored, size, named, extra, comment = struct.unpack("<IIHHH", content[position + 20 : position + 34])
    (header,) = struct.unpack("<I", content[position + 42 : position + 46])
    raw_name = content[position + 46 : position + 46 + named]
    after = position + 46 + named
    size, stored, header = _wide((size, stored, header), content[after : after + extra])
    name = raw_name.decode("utf-8", "replace")
    if flags & 1 or method not in (_STORED, _DEFLATED):
        raise Refused("the archive is encrypted, or was compressed by another program: save it anew")
    if header + 30 > len(content) or content[header : header + 4] != _LOCAL:
        raise Damaged(_BROKEN)
    own_name, own_extra = struct.unpack("<HH", content[header + 26 : header + 30])
    if content[header + 30 : header + 30 + own_name] != raw_name:
        raise Refused(f"the archive names the file {name[:100]!r} in two ways")
    if method == _STORED and stored != size:
        raise Damaged(_BROKEN)
    offset = header + 30 + own_name + own_extra
    return Member(name, offset, stored, size, method == _DEFLATED), header, after + extra + comment


def _wide(values: tuple[int, ...], extra: bytes) -> list[int]:
    """Return sizes and offset, taking those that need 64 bits from the entry's extra field."""
    wide, place = b"", 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[place : place + 4])
        if kind == 1:
            wide = extra[place + 4 : place + 4 + length]
        place += 4 + length
    found = []
    for value in values:
        if value == 0xFFFFFFFF and len(wide) >= 8:
            (value,), wide = struct.unpack("<Q", wide[:8]), wide[8:]
        found.append(value)
    return found


def chunks(content: Any, member: Member) -> Iterator[bytes]:
    """Yield the content of a member, unpacked piece by piece.

    Raises:
        Refused: its length differs from what the archive says.
    """
    end, unpacked = member.offset + member.stored, 0
    inflate = zlib.decompressobj(-15) if member.is_deflated else None
    for place in range(member.offset, end, _CHUNK):
        piece = content[place : min(end, place + _CHUNK)]
        while piece:
            given = inflate.decompress(piece, _CHUNK) if inflate else piece
            piece = inflate.unconsumed_tail if inflate else b""
            unpacked += len(given)
            if unpacked > member.size:
                raise Damaged(_BROKEN)
            yield given
    if unpacked != member.size:
        raise Damaged(_BROKEN)


def read_member(content: Any, member: Member) -> bytes:
    """Return the whole content of a member."""
    if member.size > len(content) + READER_OUTPUT:
        raise Refused("the archive's compressed content unpacks to far more than its size: save it uncompressed")
    return b"".join(chunks(content, member))
