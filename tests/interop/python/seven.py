"""What both drivers of the merged endpoint need: its seven servers, and what clients of both SDK lines do alike."""

from __future__ import annotations

import time
from typing import Any

import anyio

from harness import MERGED, OVER, Scene, eventually

SERVERS = ["everything-serialize", "memory", "filesystem", "legacy-py-serialize", "demo", "legacy-ts-serialize", "modern-ts"]
EVERYTHING, MEMORY, FILES, PYTHON, DEMO, STEERED, MODERN = SERVERS
IS_SHARED = OVER != "serve"
"""Where clients share the endpoint, one sees what another does."""
OPTIONS = "{ list_timeout_ms = 20000 }"


def of(server: str, name: str) -> str:
    return f"{server}__{name}"


def new_tag(server: str) -> str:
    """Names one call of a `slow` tool."""
    return f"{server}-{time.monotonic_ns()}"


async def report_progress(a: Any) -> None:
    """A client gets each server's progress of its call, in order and no other."""
    for server in (PYTHON, STEERED, MODERN):
        tag = new_tag(server)
        assert await a.call(of(server, "slow"), {"tag": tag, "ms": 60, "steps": 3}, progress=True) == f"done {tag}"
        assert [note["progress"] for note in a.wire.progress if note["of"]["tag"] == tag] == [1, 2, 3], server


async def leave_in_a_call(scene: Scene) -> None:
    """A client that leaves takes its call with it, at each server."""
    b = await scene.open(MERGED, "b")
    for server in (PYTHON, STEERED, MODERN):
        a = await scene.open(MERGED, "a")
        tag = new_tag(server)

        async def lose(a: Any = a, server: str = server, tag: str = tag) -> None:
            await a.call(of(server, "slow"), {"tag": tag, "ms": 15_000, "steps": 300}, progress=True)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose)
            await a.wire.until(lambda a=a: bool(a.wire.progress), "progress")
            a.close()
            # The SDK would wait for an answer that cannot come any more.
            tasks.cancel_scope.cancel()

        async def is_cancelled(server: str = server, tag: str = tag) -> bool:
            return tag in (await b.json(of(server, "stats")))["cancelled"]

        await eventually(is_cancelled, f"{server} sees the cancel")
