"""Names in zips of other systems, read as they were written."""

import io
import struct
import zipfile
import zlib

import pytest

from ui.uploads.zip_names import read_names

ACCENTS = ["Été à la plage.jpg", "garçon/Niño.png", "Über.jpg"]
RUSSIAN = ["Фото/кот.jpg", "Новая папка/IMG_1.jpg"]


def members(names, encoding, extra=lambda raw: b""):
    """The members of a zip whose names are these bytes, with nothing that says their encoding."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for letter, name in zip("xyz", names, strict=False):
            raw = name.encode(encoding)
            info = zipfile.ZipInfo(letter * len(raw))  # as long as the name, which replaces it
            info.extra = extra(raw)
            archive.writestr(info, b"")
    data = file.getvalue()
    for letter, name in zip("xyz", names, strict=False):
        raw = name.encode(encoding)
        assert data.count(letter.encode() * len(raw)) == 2
        data = data.replace(letter.encode() * len(raw), raw)
    return zipfile.ZipFile(io.BytesIO(data)).infolist()


@pytest.mark.parametrize(
    "names, encoding",
    [
        (ACCENTS, "utf-8"),  # macOS
        (["cafe\u0301.jpg"], "utf-8"),
        (["写真.jpg", "😀.png"], "utf-8"),
        (ACCENTS, "cp437"),  # Windows in the United States
        (["São João.jpg", "MÁLAGA.jpg"], "cp850"),  # and elsewhere
        (["Zdjęcia świąteczne.jpg", "Łódź.jpg"], "cp852"),
        (["Café.jpg", "São João.jpg"], "cp1252"),
        (RUSSIAN, "cp866"),
        (RUSSIAN, "cp1251"),
        (["ねこ.jpg", "新しいフォルダー/猫（1）.jpg"], "cp932"),
        (["고양이 사진.jpg"], "cp949"),
        (["新建文件夹/猫咪.jpg", "微信图片.jpg"], "gbk"),
        (["貓咪的照片.jpg"], "big5"),
        (["plain.jpg"], "ascii"),
    ],
)
def test_names_without_a_word_about_their_encoding(names, encoding):
    assert read_names(members(names, encoding)) == names


def test_a_name_that_nothing_explains_is_read_as_the_format_says():
    raw = bytes([0xB0, 0xE9, 0xFF]).decode("cp437")
    assert read_names(members([raw], "cp437")) == [raw]


def test_names_that_say_they_are_utf_8():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("Ünï/写真.jpg", b"")
    assert read_names(zipfile.ZipFile(file).infolist()) == ["Ünï/写真.jpg"]


@pytest.mark.parametrize("is_current", [True, False])
def test_the_unicode_path_of_info_zip(is_current):
    """It counts only with the checksum of the name beside it."""

    def extra(raw):
        path = "猫.jpg".encode()
        checksum = zlib.crc32(raw) if is_current else 1
        other = struct.pack("<HH", 0x5455, 1) + b"\0"
        return other + struct.pack("<HHBL", 0x7075, 5 + len(path), 1, checksum) + path

    [name] = read_names(members(["é_.jpg"], "cp437", extra))
    assert name == ("猫.jpg" if is_current else "é_.jpg")
