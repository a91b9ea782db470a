"""One client of the Python SDK 2.x, pinned to 2026-07-28 unless `mode` says otherwise, over whichever way `--over` says."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from harness import OVER, Wire, launch, url_of, watch

REVISION = "2026-07-28"


class Peer:
    """One client. It answers every question with its own label in the answer."""

    def __init__(self, label: str, wire: Wire) -> None:
        self.label = label
        self.wire = wire
        self.client: Client = None  # type: ignore[assignment]
        self.asked: list[str] = []
        self._stop = anyio.Event()

    def close(self) -> None:
        self._stop.set()

    async def closed(self) -> None:
        await self._stop.wait()

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, progress: bool = False, meta: Any = None) -> str:
        async def ignore(_done: float, _total: float | None, _message: str | None) -> None: ...

        result = await self.client.call_tool(tool, arguments or {}, progress_callback=ignore if progress else None, meta=meta)
        text = result.content[0].text if result.content else ""  # type: ignore[union-attr]
        if result.is_error:
            raise RuntimeError(f"{tool}: {text}")
        return text

    async def json(self, tool: str, arguments: dict[str, Any] | None = None) -> Any:
        return json.loads(await self.call(tool, arguments))

    async def on_elicit(self, _context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params.message)
        if "answer" in params.requested_schema["properties"]:
            return types.ElicitResult(action="accept", content={"answer": f"{self.label} answers {params.message}"})
        return types.ElicitResult(action="accept", content={"name": self.label})

    async def on_sample(self, _context: Any, params: Any) -> types.CreateMessageResult:
        content = params.messages[0].content
        said = (content[0] if isinstance(content, list) else content).text
        self.asked.append(said)
        return types.CreateMessageResult(role="assistant", model="interop", content=types.TextContent(text=f"{self.label} samples {said}"))

    async def on_roots(self, _context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=f"file:///roots/{self.label}", name=self.label)])  # type: ignore[arg-type]


@asynccontextmanager
async def watched(server: str, wire: Wire) -> Any:
    if OVER == "http":
        async with streamable_http_client(url_of(server)) as streams:
            yield watch(streams, wire)
        return
    with open(os.devnull, "w") as nowhere:
        async with stdio_client(StdioServerParameters(**launch(server)), errlog=nowhere) as streams:
            yield watch(streams, wire)


async def run_client(server: str, label: str, wire: Wire, started: Any, interactive: bool = False, mode: str = REVISION) -> None:
    peer = Peer(label, wire)
    answers: dict[str, Any] = {}
    if interactive:
        answers = {"elicitation_callback": peer.on_elicit, "sampling_callback": peer.on_sample, "list_roots_callback": peer.on_roots}
    async with Client(watched(server, wire), mode=mode, client_info=types.Implementation(name=label, version="1"), **answers) as client:
        peer.client = client
        started(peer)
        await peer.closed()
