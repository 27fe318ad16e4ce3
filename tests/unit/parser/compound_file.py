"""Writes the OLE2 containers that Outlook keeps messages in (MS-CFB, version 3, all streams in the mini stream)."""

import struct
from dataclasses import dataclass, field

_SECTOR = 512
_MINI_SECTOR = 64
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_NONE = 0xFFFFFFFF

Tree = dict[str, "bytes | Tree"]


@dataclass
class _Entry:
    name: str
    kind: int
    child: int = _NONE
    sibling: int = _NONE
    start: int = _END
    size: int = 0

    def packed(self) -> bytes:
        name = self.name.encode("utf-16-le") + b"\0\0"
        head = name.ljust(64, b"\0") + struct.pack("<HBB", len(name), self.kind, 1)
        return head + struct.pack("<III16sIQQIQ", _NONE, self.sibling, self.child, b"", 0, 0, 0, self.start, self.size)


@dataclass
class _Writer:
    entries: list[_Entry] = field(default_factory=lambda: [_Entry("Root Entry", 5)])
    mini: bytes = b""
    mini_fat: list[int] = field(default_factory=list)

    def add(self, parent: int, tree: Tree) -> None:
        previous = None
        for name, content in tree.items():
            number = len(self.entries)
            if previous is None:
                self.entries[parent].child = number
            else:
                self.entries[previous].sibling = number
            previous = number
            self.entries.append(_Entry(name, 2 if isinstance(content, bytes) else 1))
            if isinstance(content, bytes):
                self._store(self.entries[number], content)
            else:
                self.add(number, content)

    def _store(self, entry: _Entry, content: bytes) -> None:
        assert len(content) < 4096
        sectors = -(-len(content) // _MINI_SECTOR)
        if sectors:
            first = len(self.mini_fat)
            entry.start, entry.size = first, len(content)
            self.mini_fat += [*range(first + 1, first + sectors), _END]
            self.mini += content.ljust(sectors * _MINI_SECTOR, b"\0")


def compound_file(tree: Tree) -> bytes:
    """Return a container with these storages (mappings) and streams (bytes, less than 4 KiB each)."""
    writer = _Writer()
    writer.add(0, tree)
    directory_sectors = -(-len(writer.entries) * 128 // _SECTOR)
    mini_fat_sectors = -(-len(writer.mini_fat) * 4 // _SECTOR)
    mini_sectors = -(-len(writer.mini) // _SECTOR)
    lengths = [1, directory_sectors, mini_fat_sectors, mini_sectors]
    starts = [sum(lengths[:number]) for number in range(4)]
    fat = [_FAT]
    for start, length in zip(starts[1:], lengths[1:], strict=True):
        fat += [*range(start + 1, start + length), _END] if length else []
    assert len(fat) <= 128
    writer.entries[0].start, writer.entries[0].size = (starts[3] if mini_sectors else _END), len(writer.mini)
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack(
        "<IIIIIIIII", 0, 1, starts[1], 0, 4096, starts[2] if mini_fat_sectors else _END, mini_fat_sectors, _END, 0
    )
    header += struct.pack("<I", 0) + struct.pack("<I", _FREE) * 108
    return b"".join(
        (
            header,
            struct.pack("<128I", *fat, *[_FREE] * (128 - len(fat))),
            b"".join(entry.packed() for entry in writer.entries).ljust(directory_sectors * _SECTOR, b"\0"),
            b"".join(struct.pack("<I", one) for one in writer.mini_fat).ljust(mini_fat_sectors * _SECTOR, b"\xff"),
            writer.mini.ljust(mini_sectors * _SECTOR, b"\0"),
        )
    )
