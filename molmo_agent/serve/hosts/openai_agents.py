"""A screen of ours as the computer of an agent of the package ``openai-agents``."""

import asyncio
import concurrent.futures
import sys
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.serve.hosts.openai_tools import WAIT_S, click
from molmo_agent.serve.hosts.screen import HostScreen
from molmo_agent.serve.outcome import Outcome
from molmo_agent.serve.picture import PictureLimits
from molmo_agent.serve.session import Session

try:
    from agents.computer import AsyncComputer  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:
    raise UsageError("this needs the package openai-agents: pip install openai-agents") from error

T = TypeVar("T")
_SYSTEMS: dict[str, Literal["mac", "windows", "ubuntu"]] = {"darwin": "mac", "win32": "windows"}


class Computer(AsyncComputer):  # type: ignore[misc, unused-ignore]
    """A computer for ``ComputerTool(computer=...)``.

    The interface has no answer but the next screenshot, so what is not sent raises :class:`ActionRefused`, which ends
    the agent's run.

    Args:
        session: acts, with its guards.
        on_refusal: receives it instead, and the run continues; None: raise.
        limits: of the screenshots.
    """

    def __init__(
        self,
        session: Session,
        *,
        on_refusal: Callable[[Outcome], object] | None = None,
        limits: PictureLimits | None = None,
    ) -> None:
        self._screen, self._on_refusal = HostScreen(session, limits), on_refusal
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="screen")

    @property
    def environment(self) -> Literal["mac", "windows", "ubuntu"]:
        """The kind of computer."""
        return _SYSTEMS.get(sys.platform, "ubuntu")

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of the screenshots in pixels."""
        return self._screen.picture().size

    async def screenshot(self) -> str:
        """Return the screen as a PNG file in base64."""
        return await self._do(lambda: self._screen.screenshot().base64_png())

    async def click(self, x: int, y: int, button: str, *, keys: Sequence[str] | None = None) -> None:
        """Click."""
        await self._act(lambda: [click(self._screen, x, y, button, keys or ())])

    async def double_click(self, x: int, y: int, *, keys: Sequence[str] | None = None) -> None:
        """Click twice."""
        await self._act(lambda: [self._screen.click((x, y), count=2, held=keys or ())])

    async def scroll(self, x: int, y: int, scroll_x: int, scroll_y: int) -> None:
        """Scroll by pixels."""
        await self._act(lambda: self._screen.scroll_by((x, y), scroll_x, scroll_y))

    async def type(self, text: str) -> None:
        """Type a text where the focus is."""
        await self._act(lambda: [self._screen.type(text)])

    async def wait(self) -> None:
        """Wait."""
        await self._act(lambda: [self._screen.wait(WAIT_S)])

    async def move(self, x: int, y: int) -> None:
        """Move the pointer."""
        await self._act(lambda: [self._screen.move((x, y))])

    async def keypress(self, keys: list[str]) -> None:
        """Press a chord."""
        await self._act(lambda: [self._screen.keys(keys)])

    async def drag(self, path: list[tuple[int, int]], *, keys: Sequence[str] | None = None) -> None:
        """Drag in a straight line."""
        await self._act(lambda: [self._screen.drag(path, keys or ())])

    async def _act(self, work: Callable[[], Sequence[Outcome]]) -> None:
        for outcome in await self._do(work):
            if outcome.result != "refused":
                continue
            if self._on_refusal is None:
                raise ActionRefused(outcome.message)
            self._on_refusal(outcome)

    async def _do(self, work: Callable[[], T]) -> T:
        """Work in one thread, as desktops want it; a task that is cancelled stops the input between two events."""
        cancelled = self._screen.session.cancelled
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except asyncio.CancelledError:
            cancelled.set()
            # The request that is running sees it; the next one is a new one.
            self._thread.submit(cancelled.clear)
            raise
