"""Photos at the sizes that are of use."""

from PIL import Image

# More pixels than any encoder or screen here uses. What has at least four times as many is reduced,
# a JPEG while it is decoded: a third of the time and a fraction of the memory.
USEFUL_PIXELS = 1_500_000


def get_reduction_factor(image: Image.Image) -> int:
    """Into how many parts each side may be cut, and `USEFUL_PIXELS` pixels are left."""
    return max(1, int((image.width * image.height / USEFUL_PIXELS) ** 0.5))


def reduce_image(image: Image.Image) -> Image.Image:
    """The image at a half, a third, ... of its size, if it has more than `USEFUL_PIXELS` by far."""
    times = get_reduction_factor(image)
    return image.reduce(times) if times > 1 else image


def fit_photo(photo: Image.Image, side: int) -> Image.Image:
    """The photo with its longer side at `side` pixels; the other keeps at least one."""
    longer = max(photo.size)
    width, height = (max(1, round(length * side / longer)) for length in photo.size)
    # what is much larger is first reduced by a whole number: half the time
    return photo.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=1.2)


def thin_photo(photo: Image.Image, size: tuple[int, int], resample: int) -> Image.Image:
    """A photo at `size` (width, height), if it has at least four times as much on each side; else
    as it is. Reducing it by a whole number first takes a third of the time that resizing does."""
    if photo.width < 4 * size[0] or photo.height < 4 * size[1]:
        return photo
    return photo.resize(size, Image.Resampling(resample), reducing_gap=2.0)
