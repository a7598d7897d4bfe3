"""Files that are given by their address.

gradio keeps visitors from naming the host's own files, and addresses within the host's network. But
it would read an address to its end, however much that is; here no more than a photo may have.
"""

from pathlib import PurePosixPath

import gradio as gr
import httpx
import safehttpx
from gradio.processing_utils import save_bytes_to_cache

from ui.complaints import complaint
from ui.uploads import check_size

SECONDS = 10.0  # that an address may take to answer, and each piece of it to come


def receive(component: gr.Image | gr.File) -> None:
    """Let a component take files this way. (A class of our own would be written to disk by
    gradio, as a `.pyi`.)"""
    move = component.async_move_resource_to_block_cache

    async def moved(place: str | None) -> str | None:
        if place and place.startswith(("http://", "https://")):
            content = await fetch(place)
            name = PurePosixPath(httpx.URL(place).path).name or "photo"
            place = save_bytes_to_cache(content, name, component.GRADIO_CACHE)
        return await move(place)

    component.async_move_resource_to_block_cache = moved


async def fetch(address: str) -> bytes:
    """The file at an address. Raises gr.Error, in one line."""
    try:
        url = httpx.URL(address)
        safe = safehttpx.AsyncSecureTransport(await safehttpx.async_validate_url(url.host))
        async with (
            httpx.AsyncClient(transport=safe, timeout=SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"its host answers {answer.status_code}")
            content = bytearray()
            async for piece in answer.aiter_bytes():
                content += piece
                check_size("the photo there", len(content))
            return bytes(content)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise complaint(f"{address[:200]}: {reason}; give the photo itself") from None
