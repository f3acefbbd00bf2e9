"""Every error that this package raises on purpose.

MolmoAgentError
├── UsageError            a request for something that does not exist or is not possible         (exit code 2)
│   ├── UnknownNameError  a typo in the name of an env, a model, a dialect: the nearest names are offered
│   ├── MissingExtraError an optional dependency is not installed: its extra is named
│   ├── ImageError        a file that is not an image, or one that no model can look at
│   └── DataError         a file that is damaged, or has another form or encoding
├── PointTextError        a reply without a well-formed answer; the error holds the reply
├── ActionRefused         a guard or an env refused to execute an action
├── EnvError              the environment failed: no display, a lost device, a locked screen     (exit code 3)
├── ModelError            the model failed: a missing file, a checkpoint of another family       (exit code 3)
├── ReferenceFailure      a metric of the authors' code fails on this answer (in `reference_quirks` mode only)
└── RunStopped            the user stopped the run: Ctrl-C, the failsafe corner                   (exit code 130)

A message states what was expected, what came, and what to do next.
"""

import difflib
from collections.abc import Iterable


class MolmoAgentError(Exception):
    """The root: ``except MolmoAgentError`` catches everything that this package raises on purpose."""


class UsageError(MolmoAgentError):
    """A request for something that does not exist or is not possible."""


class UnknownNameError(UsageError):
    """A name that is not registered."""

    def __init__(self, kind: str, name: str, names: Iterable[str]) -> None:
        self.kind, self.name, self.names = kind, name, sorted(names)
        near = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}known: {', '.join(self.names) or 'none'}")


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'molmo-agent[{extra}]'")


class ImageError(UsageError):
    """A file that is not an image, or an image that no model can look at."""


class DataError(UsageError):
    """A file that is damaged, or whose content has another form, encoding or size than expected."""


class PointTextError(MolmoAgentError):
    """A reply without a well-formed answer in its dialect."""

    def __init__(self, message: str, reply: str) -> None:
        self.reply = reply
        super().__init__(message)


class ActionRefused(MolmoAgentError):
    """A guard or an env refused to execute an action; no input was sent."""


class ScreenChanged(ActionRefused):
    """The screen is no longer the one that was observed, so no input was sent: observe again, then act."""


class EnvError(MolmoAgentError):
    """The environment failed: no display, a lost device, a locked screen."""


class ModelError(MolmoAgentError):
    """The model failed: a missing file, a checkpoint of another family, a server that does not answer."""


class RunStopped(MolmoAgentError):
    """The user stopped the run: Ctrl-C or the failsafe corner."""
