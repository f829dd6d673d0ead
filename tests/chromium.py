"""A headless Chromium, driven over its DevTools protocol."""

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import wait_for

NAMES = ("chromium", "chromium-browser", "google-chrome")
Json = dict[str, Any]


class Tab:
    """One page, and what its console said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._last = socket, 0
        self.errors: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Json:
        """Call a method of the protocol, and take up the events that come before its answer."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(timeout=60)).data)
            if message.get("id") == self._last:
                assert "error" not in message, message
                result: Json = message["result"]
                return result
            self._take_up(message)

    def _take_up(self, message: Json) -> None:
        method, content = message["method"], message["params"]
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(content["exceptionDetails"]))
        elif method == "Log.entryAdded" and content["entry"]["level"] in ("error", "warning"):
            self.errors.append(content["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and content["type"] in ("error", "warning"):
            self.errors.append(str(content["args"]))

    async def open(self, file: Path) -> None:
        await self.call("Page.navigate", url=file.resolve().as_uri())
        while await self.run("document.readyState") != "complete":
            await asyncio.sleep(0.05)

    async def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)

    async def prefer(self, scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def run(self, script: str) -> Any:
        """Return the value of an expression of JavaScript."""
        done = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def point(self, x: float, y: float) -> None:
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


def in_chromium(folder: Path, look: Callable[[Tab], Awaitable[None]]) -> None:
    """Start Chromium with a profile in a folder, and let `look` use one of its tabs."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: {', '.join(NAMES)}; on Debian, apt-get install chromium")
    process = subprocess.Popen(
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
            f"--user-data-dir={folder}", "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port_file = folder / "DevToolsActivePort"
        wait_for(lambda: port_file.exists() and len(port_file.read_text().splitlines()) == 2)
        asyncio.run(_look(int(port_file.read_text().splitlines()[0]), look))
    finally:
        process.terminate()
        process.wait(30)


async def _look(port: int, look: Callable[[Tab], Awaitable[None]]) -> None:
    async with _tab(port) as tab:
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        await look(tab)


@contextlib.asynccontextmanager
async def _tab(port: int) -> AsyncIterator[Tab]:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [each for each in await answer.json() if each["type"] == "page"]
        address = pages[0]["webSocketDebuggerUrl"]
        async with session.ws_connect(address, max_msg_size=2**26) as socket:
            yield Tab(socket)
