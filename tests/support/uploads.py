"""What visitors upload: a photo's bytes, and zips."""

import io
import zipfile

from tests.support.tiny import draw_photo
from ui.uploads.files import Upload


def encode_png(colour=(200, 60, 30)):
    buffer = io.BytesIO()
    draw_photo(30, 20, colour).save(buffer, "PNG")
    return buffer.getvalue()


def zip_files(folder, members, name="some.zip", packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(folder / name, "w", packing) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return Upload(str(folder / name), name)
