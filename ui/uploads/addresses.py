"""Files that are given by their address.

gradio would read an address to its end, however much that is and however long it takes, and for any
component, also one that takes no file. Here no more is read than a photo may have.
"""

import ipaddress

import anyio
import httpx
import safehttpx
from gradio import processing_utils

from ui.errors import complaint
from ui.uploads.files import check_size

SECONDS = 10.0  # for all of it


def install() -> None:
    """Have gradio fetch this way, whatever the component."""
    processing_utils.async_ssrf_protected_download = download


async def download(address: str, cache_dir: str) -> str:
    """The path of our copy of the file at an address. Raises gr.Error, in one line."""
    return processing_utils.save_bytes_to_cache(await fetch(address), "photo", cache_dir)


async def fetch(address: str) -> bytes:
    """The file at an address of a public host. Raises gr.Error, in one line."""
    try:
        # around all: the transport drops httpx's own limits
        with anyio.fail_after(SECONDS):
            url = httpx.URL(address)
            place = await safehttpx.async_validate_url(url.host)
            check_public(place)
            safe = safehttpx.AsyncSecureTransport(place)
            # as it is: what is packed may be a thousand times as much
            plain = {"Accept-Encoding": "identity"}
            async with (
                httpx.AsyncClient(transport=safe, headers=plain) as client,
                client.stream("GET", url) as answer,
            ):
                if answer.status_code != 200:
                    raise ValueError(f"its host answers {answer.status_code}")
                content = bytearray()
                async for piece in answer.aiter_raw():
                    content += piece
                    check_size("the photo there", len(content))
                return bytes(content)
    except TimeoutError:
        reason = f"its host takes longer than {SECONDS:.0f} seconds"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        reason = str(error) or type(error).__name__
    raise complaint(f"{address[:200]}: {reason}; give the photo itself")


def check_public(place: str) -> None:
    """Raises ValueError for an IP address that may lead into the host's network: what safehttpx
    lets through (shared address space, IPv4 inside of IPv6) is refused too."""
    ip = ipaddress.ip_address(place)
    tunnel = ip.version == 6 and (ip.sixtofour or ip.teredo or ip.ipv4_mapped)
    if tunnel or not ip.is_global:
        raise ValueError("not a public host")
