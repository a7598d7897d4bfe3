"""Files that are given by their address.

gradio would read an address to its end, however much that is and however long it takes, and for any
component, also one that takes no file. Here no more is read than a photo may have.
"""

import anyio
import httpx
import safehttpx

from model.errors import ImageError
from ui.errors import user_error
from ui.gradio_internals import save_to_cache
from ui.uploads.limits import check_size
from ui.uploads.special_addresses import is_public

MAX_SECONDS = 10.0  # for all of it


async def download_file(address: str, folder: str) -> str:
    """The path of our copy of the file at an address. Raises gr.Error, in one line."""
    return save_to_cache(await fetch_bytes(address), "photo", folder)


async def fetch_bytes(address: str) -> bytes:
    """The file at an address of a public host. Raises gr.Error, in one line."""
    try:
        # around all: the transport drops httpx's own limits
        with anyio.fail_after(MAX_SECONDS):
            url, ip_address = await _resolve(address)
            transport = safehttpx.AsyncSecureTransport(ip_address)
            # not compressed: unpacked, it may be a thousand times as much
            headers = {"Accept-Encoding": "identity"}
            async with (
                httpx.AsyncClient(transport=transport, headers=headers) as client,
                client.stream("GET", url) as response,
            ):
                if response.status_code != 200:
                    raise ImageError(f"its host answers {response.status_code}")
                content = bytearray()
                async for chunk in response.aiter_raw():
                    content += chunk
                    check_size("the photo there", len(content))
                return bytes(content)
    except TimeoutError:
        reason = f"its host takes longer than {MAX_SECONDS:.0f} seconds"
    except (httpx.HTTPError, ImageError, OSError) as error:
        reason = str(error) or type(error).__name__
    raise user_error(f"{address[:200]}: {reason}; give the photo itself")


async def _resolve(address: str) -> tuple[httpx.URL, str]:
    """The address as a URL, and its host's public IP address; raises ImageError for others."""
    try:
        url = httpx.URL(address)
        ip_address = await safehttpx.async_validate_url(url.host)
    except (httpx.InvalidURL, ValueError) as error:
        raise ImageError(str(error) or type(error).__name__) from error
    check_public(ip_address)
    return url, ip_address


def check_public(address: str) -> None:
    """Raise ImageError for an IP address that may lead into the host's network."""
    if not is_public(address):
        raise ImageError("not a public host")
