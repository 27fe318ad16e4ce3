"""The compression of RTF in Outlook messages (MS-OXRTFCP): LZ77 over a dictionary of 4 KiB that starts with RTF."""

import struct
from typing import Final

_HEADER: Final = struct.Struct("<II4sI")
_COMPRESSED: Final = b"LZFu"
_START: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20"
    b"\\b\\i\\u\\tab\\tx"
)
_DICTIONARY_BYTES: Final = 4096


def decompress(content: bytes) -> bytes:
    """Return the RTF, of damaged content what can be told; at most nine times as long as the content."""
    if len(content) < _HEADER.size:
        return b""
    _, size, method, _ = _HEADER.unpack_from(content)
    data = content[_HEADER.size :]
    return _inflated(data)[:size] if method == _COMPRESSED else data[:size]


def _inflated(data: bytes) -> bytes:
    # The dictionary is a ring whose positions are those of the output, modulo its size.
    output = bytearray(_START)
    position = 0
    while position < len(data):
        control = data[position]
        position += 1
        for bit in range(8):
            if not control >> bit & 1:
                output += data[position : position + 1]
                position += 1
                continue
            if position + 2 > len(data):
                return bytes(output[len(_START) :])
            token = int.from_bytes(data[position : position + 2], "big")
            position += 2
            distance = (len(output) - (token >> 4)) % _DICTIONARY_BYTES
            if not distance:
                return bytes(output[len(_START) :])
            _copy(output, distance, (token & 15) + 2)
    return bytes(output[len(_START) :])


def _copy(output: bytearray, distance: int, length: int) -> None:
    """Repeat what stands `distance` back, byte by byte: it may reach into what is being written."""
    for _ in range(length):
        output.append(output[-distance] if distance <= len(output) else 0x20)
