"""Secrets that the env types and no model sees: ``{{NAME}}`` in an instruction, the value in the environment.

The value of ``{{NAME}}`` is the environment variable ``MOLMO_SECRET_NAME``. It is inserted once, just before
the env types it: policies, models, prompts, history, logs and trajectories see the placeholder.
Only names that the user allowed are looked up, so text on a screen cannot request one.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from molmo_agent.actions import Action, Type
from molmo_agent.child_environment import SECRET_PREFIX
from molmo_agent.errors import ActionRefused, UsageError

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_T = TypeVar("_T")


def secret_names(text: str) -> tuple[str, ...]:
    """Return the names of the placeholders in a text, in order of appearance, each once."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


def types_secret(action: Action) -> bool:
    """Return whether an action types at least one secret."""
    return isinstance(action, Type) and bool(secret_names(action.text))


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets that a run may type, by name. The values appear in no representation of this object."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

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

        Lists, tuples, dictionaries and dataclasses are searched; other objects are returned unchanged.
        """
        return self._scrub(value) if self.values else value

    def _scrub(self, value: Any) -> Any:
        if isinstance(value, str):
            # The longest first: a secret that contains another one must not be cut in half.
            for name, secret in sorted(self.values.items(), key=lambda item: -len(item[1])):
                value = value.replace(secret, "{{" + name + "}}")
            return value
        if isinstance(value, dict):
            return {self._scrub(key): self._scrub(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            items = [self._scrub(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
            replacements = {
                name: new for name, old in fields.items() if (new := self._scrub(old)) is not old and new != old
            }
            return dataclasses.replace(value, **replacements) if replacements else value
        return value
