"""Render offline pages from templates: all values are escaped, and an undefined name is an error.

Values are shown on one line, as :func:`~molmo_agent.visible_text.visible_text` shows them: a direction
override in a reply must not turn the page around. The filter ``lines`` keeps line feeds, for ``<pre>``.
"""

import functools
from typing import Any

import jinja2
import markupsafe

from molmo_agent.visible_text import visible_lines, visible_text


def _visible(value: Any) -> Any:
    # Macros return markup, whose values have already been converted.
    return value if hasattr(value, "__html__") or isinstance(value, int | float) else visible_text(str(value))


def _lines(value: Any) -> markupsafe.Markup:
    return markupsafe.escape(visible_lines(str(value)))


def render_page(template: str, /, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: path inside the package, such as ``rollout/viewer.html.jinja``.
        values: the variables that the template uses.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    """Return what keeps the templates: to compile one takes longer than to fill it in."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("molmo_agent", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["lines"] = _lines
    return environment
