"""Where the requests of clients meet the one screen: one client at a time, one thread, and questions to a person.

The session works in a thread of its own, because models take seconds and desktops want one thread. A question to a
person travels back to the client that asked for the action: as a request of the server in the older protocols, and as
the result "input required" in the newer ones, where the client comes again with the answer. Meanwhile the thread waits.
"""

import asyncio
import concurrent.futures
import dataclasses
import functools
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from mcp.server.mcpserver import Context
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import is_version_at_least
from pydantic import BaseModel, Field

from molmo_agent.actions import describe
from molmo_agent.episode import Decision, Observation
from molmo_agent.errors import ActionRefused
from molmo_agent.serve.outcome import Outcome
from molmo_agent.serve.session import Session
from molmo_agent.visible_text import visible_text

T = TypeVar("T")
# Other clients may take over the screen so many seconds after a client's last request.
IDLE_S = 60.0
# How long a person may think about a question, in seconds.
ANSWER_S = 120.0
# How long the end of the program waits for an action to stop, in seconds.
_CLOSE_S = 1.5
_POLL_S = 0.05
# From here on servers may not send requests, and ask with the result of a call.
_ASKS_BY_RESULT = "2026-07-28"
_KEY = "confirm"
NO_ELICITATION = (
    "this action needs the consent of a person, and this client cannot ask one: it does not support elicitation. "
    "Use a client that does. For actions that are sure, --confirm never of the server asks nobody"
)


class Confirmation(BaseModel):
    """The form of a question."""

    allow: bool = Field(title="Allow this action", description="Whether to carry it out now.")


class Call:
    """One request of a client while it is carried out."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, can_ask: bool) -> None:
        self.cancelled = threading.Event()
        self.questions: asyncio.Queue[str] = asyncio.Queue()
        # The question that the client would have had to ask.
        self.could_not_ask = ""
        self.done: asyncio.Future[Any] | None = None
        self._loop, self._can_ask = loop, can_ask
        self._answer: concurrent.futures.Future[bool] | None = None

    @property
    def is_asking(self) -> bool:
        """Whether a question is open."""
        return self._answer is not None

    def ask(self, question: str) -> bool:
        """Ask a person, in the thread of the session; no answer in time means no."""
        if not self._can_ask:
            self.could_not_ask = question
            return False
        answer: concurrent.futures.Future[bool] = concurrent.futures.Future()
        self._answer = answer
        self._loop.call_soon_threadsafe(self.questions.put_nowait, question)
        end = time.monotonic() + ANSWER_S
        try:
            while time.monotonic() < end and not self.cancelled.is_set():
                if concurrent.futures.wait([answer], _POLL_S).done:
                    return answer.result()
            return False
        finally:
            self._answer = None

    def answer(self, allowed: bool) -> None:
        """Answer the open question, if there still is one."""
        if (answer := self._answer) is not None and not answer.done():
            answer.set_result(allowed)


class Desk:
    """Carries out the requests of MCP clients on one screen.

    Args:
        open_session: makes the session; is called in the thread of the session, with what asks a person.
        idle_s: when another client may take over, in seconds after the last request.
    """

    def __init__(
        self, open_session: Callable[[Callable[[Decision, Observation, str], bool]], Session], idle_s: float = IDLE_S
    ) -> None:
        self._open, self._idle_s = open_session, idle_s
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="screen")
        # Of the thread.
        self._session: Session | None = None
        self._call: Call | None = None
        # Of the event loop: who has the screen, since when it is idle, and open questions.
        self._owner: tuple[str, str] | None = None
        self._last_s = 0.0
        self._running: set[Call] = set()
        self._open_calls: dict[str, Call] = {}

    async def call(self, context: Context[Any, Any], request: Callable[[Session], T]) -> T | InputRequiredResult:
        """Carry out a request, or its next part after a question.

        Raises:
            ActionRefused: another client has the screen, or nobody could be asked.
            MolmoAgentError: the env or the model failed.
        """
        if context.request_state is not None:
            call = self._open_calls.pop(context.request_state, None)
            if call is None:
                raise ActionRefused("the question is no longer open, so nothing was sent; call the tool again")
            call.answer(_allows((context.input_responses or {}).get(_KEY)))
        else:
            self._claim(client_of(context))
            self._drop_open_calls()
            capabilities = context.client_capabilities
            call = Call(asyncio.get_running_loop(), can_ask=bool(capabilities and capabilities.elicitation))
            call.done = asyncio.ensure_future(
                asyncio.get_running_loop().run_in_executor(self._thread, self._work, call, request)
            )
            self._running.add(call)
            call.done.add_done_callback(functools.partial(self._finish, call))
        try:
            outcome: T | InputRequiredResult = await self._await(context, call)
        except asyncio.CancelledError:
            call.cancelled.set()
            raise
        if call.could_not_ask and isinstance(outcome, Outcome) and outcome.result == "refused":
            message = f"{NO_ELICITATION}. Not asked: {call.could_not_ask}"
            return dataclasses.replace(outcome, message=message)
        return outcome

    def close(self) -> None:
        """Stop what is running, release keys and buttons, and close the session."""
        if call := self._call:
            call.cancelled.set()
        closing = self._thread.submit(self._close_session)
        concurrent.futures.wait([closing], _CLOSE_S)
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- In the thread of the session -----------------------------------------------------------------------------

    def _work(self, call: Call, request: Callable[[Session], T]) -> T:
        if self._session is None:
            self._session = self._open(self._ask)
        self._session.cancelled, self._call = call.cancelled, call
        try:
            return request(self._session)
        finally:
            self._call = None

    def _ask(self, decision: Decision, observation: Observation, why: str) -> bool:
        assert self._call is not None
        parts = [describe(decision.action)]
        if decision.instruction:
            parts.append(f"for: {decision.instruction}")
        if why:
            parts.append(f"({why})")
        return self._call.ask(visible_text("Allow this action on the screen?  " + "  ".join(parts)))

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()

    # --- In the event loop ----------------------------------------------------------------------------------------

    async def _await(self, context: Context[Any, Any], call: Call) -> Any:
        """Return the result of a call, or the result that asks a question."""
        assert call.done is not None
        while True:
            question = asyncio.ensure_future(call.questions.get())
            try:
                await asyncio.wait({call.done, question}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not question.done():
                    question.cancel()
            if call.done.done():
                return call.done.result()
            text = question.result()
            version = context.protocol_version
            if version is not None and is_version_at_least(version, _ASKS_BY_RESULT):
                state = secrets.token_urlsafe(24)
                self._open_calls[state] = call
                form = ElicitRequestFormParams(message=text, requested_schema=_schema())
                return InputRequiredResult(input_requests={_KEY: ElicitRequest(params=form)}, request_state=state)
            answer = await context.elicit(text, Confirmation)
            call.answer(answer.action == "accept" and answer.data.allow)

    def _claim(self, client: tuple[str, str]) -> None:
        """Give the screen to a client.

        Raises:
            ActionRefused: another one has it.
        """
        idle_s = time.monotonic() - self._last_s
        is_free = self._owner is None or (not self._running and idle_s >= self._idle_s)
        if not is_free and self._owner is not None and self._owner[0] != client[0]:
            wait = "once its request is done and" if self._running else "when"
            raise ActionRefused(
                f"another client ({self._owner[1]}) is using this screen; it is free {wait} that client has sent "
                f"nothing for {self._idle_s:g} s"
            )
        self._owner, self._last_s = client, time.monotonic()

    def _drop_open_calls(self) -> None:
        """Give up calls whose question was not answered: the client asks for something else now."""
        for call in self._open_calls.values():
            call.cancelled.set()
        self._open_calls.clear()

    def _finish(self, call: Call, done: asyncio.Future[Any]) -> None:
        self._running.discard(call)
        self._last_s = time.monotonic()
        if not done.cancelled():
            # Of a call that was cancelled, nobody else looks at the error.
            done.exception()


def client_of(context: Context[Any, Any]) -> tuple[str, str]:
    """Return what distinguishes a client from others, and its name for people.

    The session of the transport, where there is one. The newest protocol has none over HTTP: there the address and the
    name of the client count. Over stdio there is a single client.
    """
    headers = context.headers or {}
    parameters = context.session.client_params
    about = parameters.client_info if parameters is not None else None
    name = visible_text(f"{about.name} {about.version}"[:80]) if about else "unnamed"
    peer = getattr(context.request_context.request, "client", None)
    address = peer.host if peer is not None else ""
    return headers.get("mcp-session-id") or f"{address} {name}", name


def _schema() -> dict[str, Any]:
    schema = Confirmation.model_json_schema()
    return {"type": "object", "properties": schema["properties"], "required": ["allow"]}


def _allows(response: Any) -> bool:
    return (
        isinstance(response, ElicitResult)
        and response.action == "accept"
        and (response.content or {}).get("allow") is True
    )
