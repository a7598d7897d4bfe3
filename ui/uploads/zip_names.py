"""What the members of a zip are called, whatever system wrote the zip."""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from zipfile import ZipInfo

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075  # Info-ZIP's extra field
# Each code page with the scripts of its writers, the strictest reading first. Windows writes names
# in the page of its language and does not say which.
CODE_PAGES = {
    "cp437": {"LATIN"},
    "cp850": {"LATIN"},
    "cp1252": {"LATIN"},
    "cp852": {"LATIN"},
    "cp866": {"CYRILLIC"},
    "cp932": {"HIRAGANA", "KATAKANA", "CJK"},
    "euc_kr": {"HANGUL"},
    "cp1251": {"CYRILLIC"},
    "gb2312": {"CJK"},
    "big5": {"CJK"},
}
# Words of a page that is read as another one's often hold these
RARE_CYRILLIC = set("ЂѓЃђЉЊЌЋЏљњќћџЈјЅѕ")


def read_names(members: Sequence[ZipInfo]) -> list[str]:
    """The path of each member as its writer wrote it, where that can be known; else as cp437, which
    is what the format says."""
    paths = [_read_unicode(member) for member in members]
    raw = [_encode_name(m) for m, path in zip(members, paths, strict=True) if path is None]
    page = guess_code_page(raw)
    return [
        _encode_name(member).decode(page) if path is None else path
        for member, path in zip(members, paths, strict=True)
    ]


def _encode_name(member: ZipInfo) -> bytes:
    """The bytes in the zip, of a name that zipfile read as cp437."""
    return member.orig_filename.encode("cp437")


def _read_unicode(member: ZipInfo) -> str | None:
    """The path, if the zip or its bytes say that they are UTF-8."""
    if member.flag_bits & UTF8_FLAG:
        return member.orig_filename
    raw = _encode_name(member)
    from_field = _read_unicode_field(member.extra, zlib.crc32(raw))
    try:  # zips of macOS are UTF-8 and do not say so; hardly any other text can be read as such
        return (raw if from_field is None else from_field).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _read_unicode_field(extra: bytes, checksum: int) -> bytes | None:
    """The path in Info-ZIP's extra field, unless a tool renamed the member and left the field."""
    while len(extra) >= 4:
        tag, size = (int.from_bytes(extra[i : i + 2], "little") for i in (0, 2))
        content, extra = extra[4 : 4 + size], extra[4 + size :]
        if tag == UNICODE_PATH and content[:5] == b"\1" + checksum.to_bytes(4, "little"):
            return content[5:]
    return None


def guess_code_page(names: Iterable[bytes]) -> str:
    """The first of `CODE_PAGES` in which all these names are words of its writers, else cp437."""
    text = b"/".join(names)
    for page, scripts in CODE_PAGES.items():
        try:
            if _is_written_in(text.decode(page), scripts):
                return page
        except UnicodeDecodeError:
            pass
    return "cp437"


def _is_written_in(text: str, scripts: set[str]) -> bool:
    """Whether what is not ASCII looks like words of these scripts."""
    is_latin = scripts == {"LATIN"}
    for word in re.findall(r"[^\W\d_]+", text):
        if word.isascii():
            continue
        is_cased = word.islower() or word.isupper() or word.istitle()
        if word.lower() != word.upper() and not is_cased:
            return False
        # accents are between plain letters, and other scripts are not mixed with plain letters
        if re.search(r"[^\x00-\x7f]{3}" if is_latin else r"[A-Za-z]", word):
            return False
    return all(char.isascii() or _is_in_scripts(char, scripts) for char in text)


def _is_in_scripts(char: str, scripts: set[str]) -> bool:
    script = re.split("[ -]", unicodedata.name(char, ""))[0]
    if script in ("FULLWIDTH", "IDEOGRAPHIC"):  # punctuation of East Asia
        return not scripts & {"LATIN", "CYRILLIC"}
    return script in scripts and char not in RARE_CYRILLIC
