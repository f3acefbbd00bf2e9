"""Secrets that the env types and no model sees: ``{{NAME}}`` in an instruction, the value in the environment.

The value of ``{{NAME}}`` is the environment variable ``MOLMO_SECRET_NAME``. It is inserted once, just before
the env types it: policies, models, prompts, history, logs and trajectories see the placeholder.
Only names that the user allowed are looked up, so text on a screen cannot request one.
"""

import contextlib
import dataclasses
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from molmo_agent.actions import Action, Type
from molmo_agent.child_environment import SECRET_PREFIX
from molmo_agent.errors import ActionRefused, MolmoAgentError, UsageError
from molmo_agent.rollout.secret_forms import Scrubber

# A shorter one cannot be told apart from ordinary text, in records and on screens.
MIN_LETTERS, MIN_MIXED = 8, 6

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
# A secret may come back letter by letter, in a list of so many texts of at most so many letters.
_MIN_PIECES, _MAX_PIECE = 4, 3
_MAX_DEPTH = 40
# Numbers that can hold a secret of digits, and be written in digits.
_MIN_NUMBER, _MAX_NUMBER = 10 ** (MIN_LETTERS - 1), 10**300
# Attributes of exceptions that their text is made of, beside `args` and what Python code sets.
_ERROR_TEXTS = ("filename", "filename2", "strerror", "msg", "text", "object", "reason", "message", "name")
_T = TypeVar("_T")


def secret_names(text: str) -> tuple[str, ...]:
    """Return the names of the placeholders in a text, in order of appearance, each once."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


def types_secret(action: Action) -> bool:
    """Return whether an action types at least one secret."""
    return isinstance(action, Type) and bool(secret_names(action.text))


def check_secret(name: str, value: str) -> None:
    """Check that a value can be typed and be told apart from other text.

    Raises:
        UsageError: it is too short or holds line ends; the message does not show it.
    """
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in value):
        raise UsageError(
            f"the secret {{{{{name}}}}} holds a line end, a tab or another control character, which would press a key: "
            "remove it, and press the key as a step of its own"
        )
    kinds = len({"L" if char.isalpha() else "N" if char.isdigit() else "other" for char in value if not char.isspace()})
    if len(value.strip()) < (MIN_MIXED if kinds > 1 else MIN_LETTERS):
        raise UsageError(
            f"the secret {{{{{name}}}}} is too short: it could not be told apart from ordinary text, in records and on "
            f"the screen. Expected at least {MIN_LETTERS} characters, or {MIN_MIXED} with letters and digits or signs. "
            "Type it by hand, such as a PIN, or use a longer one"
        )


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets that a run may type, by name. The values appear in no representation of this object.

    Raises:
        UsageError: one of them is too short or holds line ends, see :func:`check_secret`.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    _scrubber: Scrubber | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            check_secret(name, value)
        if self.values:
            object.__setattr__(self, "_scrubber", Scrubber(self.values))

    @classmethod
    def from_environment(cls, names: Iterable[str], environ: Mapping[str, str] | None = None) -> Self:
        """Look up the allowed names as ``MOLMO_SECRET_<NAME>``.

        Raises:
            UsageError: a name is invalid, or its variable is unset or empty.
        """
        environ = os.environ if environ is None else environ
        values = {}
        for name in names:
            if not _PLACEHOLDER.fullmatch("{{" + name + "}}"):
                raise UsageError(f"expected a secret's name made of letters, digits and _, got {name!r}")
            value = environ.get(SECRET_PREFIX + name, "")
            if not value:
                raise UsageError(
                    f"the secret {{{{{name}}}}} has no value: set the environment variable {SECRET_PREFIX}{name}"
                )
            values[name] = value
        return cls(values)

    def require(self, text: str) -> None:
        """Check that every placeholder in a text may be typed.

        Raises:
            UsageError: one of them was not allowed.
        """
        for name in secret_names(text):
            if name not in self.values:
                raise UsageError(
                    f"the text asks for the secret {{{{{name}}}}}, which this run may not type: allow it "
                    f"(--secret {name}) and set the environment variable {SECRET_PREFIX}{name}"
                )

    def reveal(self, action: Action) -> Action:
        """Return the action with real values in place of placeholders; for the env alone.

        Raises:
            ActionRefused: the action asks for a secret that was not allowed.
        """
        if not isinstance(action, Type):
            return action
        try:
            self.require(action.text)
        except UsageError as error:
            raise ActionRefused(str(error)) from error
        return dataclasses.replace(action, text=_PLACEHOLDER.sub(lambda match: self.values[match[1]], action.text))

    def scrub(self, value: _T) -> _T:
        """Return a value with every secret in its strings replaced by the placeholder, keys included.

        Secrets are found in the forms that phones, shells, pages and records write them in. Lists, tuples, dictionaries
        and dataclasses are searched; other objects are returned unchanged.
        """
        return self._scrub(value, 0) if self.values else value

    def _scrub(self, value: Any, depth: int) -> Any:
        assert self._scrubber
        if isinstance(value, str):
            return self._scrubber.scrub(value)
        if isinstance(value, int) and _MIN_NUMBER <= abs(value) < _MAX_NUMBER:
            text = str(value)
            return value if self._scrubber.scrub(text) is text else self._scrubber.scrub(text)
        if depth >= _MAX_DEPTH:
            return f"{type(value).__name__} more than {_MAX_DEPTH} levels deep"
        if isinstance(value, dict):
            return {self._scrub(key, depth + 1): self._scrub(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            items = [self._scrub(item, depth + 1) for item in value]
            if hasattr(value, "_fields"):
                return type(value)(*items)
            if len(items) >= _MIN_PIECES and all(isinstance(item, str) and len(item) <= _MAX_PIECE for item in items):
                whole = "".join(items)
                items = items if self._scrubber.scrub(whole) is whole else [self._scrubber.scrub(whole)]
            return type(value)(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
            replacements = {
                name: new
                for name, old in fields.items()
                if (new := self._scrub(old, depth + 1)) is not old and new != old
            }
            return dataclasses.replace(value, **replacements) if replacements else value
        return value

    def scrub_error(self, error: BaseException) -> BaseException:
        """Scrub an exception and those that it came from, whoever made them.

        Returns:
            The same exception where its text can be changed; else one with its text and without its origins.
        """
        return self._scrub_error(error, set()) if self.values else error

    def _scrub_error(self, error: BaseException, seen: set[int]) -> BaseException:
        if id(error) in seen:
            return error
        seen.add(id(error))
        # Every exception: an exception of another package may refuse, and is replaced below.
        with contextlib.suppress(Exception):
            error.args = self.scrub(error.args)
        for name in {*_ERROR_TEXTS, *getattr(error, "__dict__", {})}:
            with contextlib.suppress(Exception):
                if isinstance(old := getattr(error, name, None), str | list | tuple | dict):
                    new = self.scrub(old)
                    if new != old:
                        setattr(error, name, new)
        for inner in getattr(error, "exceptions", ()):
            if self._scrub_error(inner, seen) is not inner:
                return self._replacement(error)
        hides = error.__suppress_context__
        if error.__cause__ is not None:
            error.__cause__ = self._scrub_error(error.__cause__, seen)
        if error.__context__ is not None:
            error.__context__ = self._scrub_error(error.__context__, seen)
        error.__suppress_context__ = hides
        return self._replacement(error) if self._shows(error) else error

    def _shows(self, error: BaseException) -> bool:
        texts = [str(error), repr(error)]
        return any(self.scrub(text) is not text for text in texts)

    def _replacement(self, error: BaseException) -> BaseException:
        return MolmoAgentError(self.scrub(f"{type(error).__name__}: {error}"))
