"""One client of the Python SDK 1.x, over whichever way `--over` says."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp.types as types
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.websocket import websocket_client

from harness import OVER, Wire, launch, url_of, watch


class Peer:
    """One client. It answers every question with its own label in the answer."""

    def __init__(self, label: str, wire: Wire) -> None:
        self.label = label
        self.wire = wire
        self.session: ClientSession = None  # type: ignore[assignment]
        self.info: types.InitializeResult = None  # type: ignore[assignment]
        self._stop = anyio.Event()

    def close(self) -> None:
        self._stop.set()

    async def closed(self) -> None:
        await self._stop.wait()

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, progress: bool = False) -> str:
        async def ignore(_done: float, _total: float | None, _message: str | None) -> None: ...

        result = await self.session.call_tool(tool, arguments or {}, progress_callback=ignore if progress else None)
        text = result.content[0].text if result.content else ""  # type: ignore[union-attr]
        if result.isError:
            raise RuntimeError(f"{tool}: {text}")
        return text

    async def json(self, tool: str) -> Any:
        return json.loads(await self.call(tool))

    async def on_elicit(self, _context: Any, params: Any) -> types.ElicitResult:
        if "answer" in params.requestedSchema["properties"]:
            return types.ElicitResult(action="accept", content={"answer": f"{self.label} answers {params.message}"})
        return types.ElicitResult(action="accept", content={"name": self.label})

    async def on_sample(self, _context: Any, params: Any) -> types.CreateMessageResult:
        content = params.messages[0].content
        said = (content[0] if isinstance(content, list) else content).text
        return types.CreateMessageResult(
            role="assistant", model="interop", content=types.TextContent(type="text", text=f"{self.label} samples {said}")
        )

    async def on_roots(self, _context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=f"file:///roots/{self.label}", name=self.label)])  # type: ignore[arg-type]


@asynccontextmanager
async def connected(server: str) -> Any:
    """The streams to a server, the way `--over` says."""
    if OVER == "http":
        async with streamable_http_client(url_of(server)) as (read, write, _):
            yield read, write
    elif OVER == "sse":
        async with sse_client(url_of(server, "sse")) as streams:
            yield streams
    elif OVER == "ws":
        async with websocket_client(url_of(server, "ws")) as streams:
            yield streams
    else:
        with open(os.devnull, "w") as nowhere:
            async with stdio_client(StdioServerParameters(**launch(server)), errlog=nowhere) as streams:
                yield streams


async def run_client(server: str, label: str, wire: Wire, started: Any, interactive: bool = False) -> None:
    peer = Peer(label, wire)
    answers: dict[str, Any] = {}
    if interactive:
        answers = {"elicitation_callback": peer.on_elicit, "sampling_callback": peer.on_sample, "list_roots_callback": peer.on_roots}
    async with connected(server) as streams:
        async with ClientSession(*watch(streams, wire), client_info=types.Implementation(name=label, version="1"), **answers) as session:
            peer.session = session
            peer.info = await session.initialize()
            started(peer)
            await peer.closed()
