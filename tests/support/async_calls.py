"""Coroutines run to their end, beside whatever runs in the test's own thread."""

from concurrent.futures import ThreadPoolExecutor

import anyio


def run_async(function, *arguments):
    """What the coroutine function gives, from a thread of its own: Playwright may keep a loop in
    this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, function, *arguments).result()
