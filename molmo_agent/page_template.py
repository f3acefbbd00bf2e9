"""Offline pages from templates: everything escaped, and a name that a template misses is an error."""

from typing import Any

import jinja2


def render_page(template: str, /, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: path inside of the package, such as ``train/data/show.html.jinja``.
        values: what it names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("molmo_agent", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
