"""An answer that is an error, in the form that clients of OpenAI's API expect."""

import secrets
from collections.abc import Mapping
from typing import Any

from molmo_agent.console import reason_of, warn
from molmo_agent.errors import MolmoAgentError
from molmo_agent.visible_text import visible_text

_MAX_CHARS = 500
# HTTP status -> type of the error.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "timeout_error",
}


class Problem(Exception):
    """A request that gets no answer.

    Args:
        status: of HTTP.
        message: what was expected, what came, and what to do; shown to the client.
        code: the same in one word, for programs.
        param: the field of the request that is wrong.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, visible_text(message)[:_MAX_CHARS], code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the body of the response."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class ClientGone(Exception):
    """The client closed the connection before it had its answer."""


def problem_of(error: Exception) -> Problem:
    """Return what a client reads about any error: in one line, never with a traceback. The log has the reason."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, MolmoAgentError):
        warn(f"a model failed: {error}")
        return Problem(500, f"the model could not answer: {error}", code="model_error")
    number = secrets.token_hex(4)
    warn(f"error {number}: {reason_of(error)}")
    return Problem(500, f"an error of the server; its log has the reason as {number}", code="server_error")
