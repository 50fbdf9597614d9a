"""Bytes to text: the byte order mark, else the charset of the Content-Type, else UTF-8; never a guess."""

from __future__ import annotations

import codecs
from email.message import Message

from realtime.errors import ExtractError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Python has codecs that are no charsets (idna, unicode_escape) or are costly; these are charsets.
_CHARSETS = (
    *("utf-8", "utf-16", "utf-32", "ascii", "iso8859-", "cp125", "koi8-", "mac-"),
    *("shift_jis", "euc_", "iso2022_", "gb", "big5", "cp932", "cp949"),
)


def decode(body: bytes, content_type: str = "", *, default: str = "utf-8") -> str:
    """The text, without a byte order mark. Raises ExtractError for bytes that are not in the charset."""
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], charset)
    return _decoded(body, charset_of(content_type) or default)


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, as Python calls it; empty for none or an unknown one."""
    header = Message()
    header["content-type"] = content_type.encode("ascii", "replace").decode()
    return known(str(header.get_content_charset("")))


def known(name: str) -> str:
    """The charset as Python calls it; empty for what is not one."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""
    return found if found.startswith(_CHARSETS) else ""


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset)
    except UnicodeDecodeError as error:
        raise ExtractError(f"The answer is not {charset.upper()} at byte {error.start}.") from None
