"""What the page does beside answering: it deletes old files, ends work that nobody waits for, and
gives free memory back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from anyio.to_thread import run_sync
from fastapi import FastAPI

from ui.errors import report_fault
from ui.gradio_internals import forget_deleted_files, start_worker_threads
from ui.gradio_queue import drop_unread
from ui.serving.memory import return_free_memory
from ui.serving.readers import READERS
from ui.uploads.folder import UploadFolder

SECONDS_BETWEEN = 5.0
ROUNDS_BETWEEN_CLEANINGS = 12  # a minute


def make_lifespan(folder: UploadFolder) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What the app does from its start to its end, when no visitor's file is left."""

    @asynccontextmanager
    async def keep_house(app: FastAPI) -> AsyncIterator[None]:
        await start_worker_threads()
        task = asyncio.create_task(_keep_house(app, folder))
        try:
            yield
        finally:
            task.cancel()
            folder.remove()

    return keep_house


async def _keep_house(app: FastAPI, folder: UploadFolder) -> None:
    rounds = 0
    while True:
        await asyncio.sleep(SECONDS_BETWEEN)
        rounds += 1
        try:
            await drop_unread(app.get_blocks(), READERS.is_read)
            await run_sync(return_free_memory)
            if rounds % ROUNDS_BETWEEN_CLEANINGS == 0:
                READERS.forget()
                await run_sync(folder.clean)
                forget_deleted_files(app.get_blocks())
        except Exception as error:  # one failure must not be the end of it
            report_fault(error)
