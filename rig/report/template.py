"""Pages that need nothing else: HTML of a template beside the code that fills it in."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rig import resources

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def page(folder: Path) -> Template:
    """The template ``page.html`` of a folder, kept compiled in the user's cache."""
    from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined

    kept = resources.cache("templates")
    with suppress(OSError):
        kept.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Compiling the page takes longer than writing it.
        bytecode_cache=FileSystemBytecodeCache(str(kept)) if os.access(kept, os.W_OK) else None,
    )
    return environment.get_template("page.html")
