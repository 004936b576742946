"""Prompts are files here and in `agents/roles`, written in Jinja2; this renders them.

Unknown names are errors (StrictUndefined), and templates run in a sandbox: a role may come from a folder of the
operator's. What users and workspaces say is only ever a value, never a template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Characters of a fact in one line, and of a longer text, such as the project's own rules.
MAX_LINE = 300
MAX_BLOCK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What is known about the user's project and machine; all of it may be missing, none of it is trusted."""

    name: str = ""
    system: str = ""
    shell: str = ""
    branch: str = ""
    languages: tuple[str, ...] = ()
    open_files: tuple[str, ...] = ()
    #: The text of the project's AGENTS.md or the like.
    rules: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An agent as another one sees it."""

    name: str
    description: str


#: What a role's template may use.
VARIABLES = frozenset({"role", "tools", "agents", "workspace", "writes", "mode", "plan", "subtask"})


def line(text: object) -> str:
    """Put a fact on one line, so that it cannot look like a part of the prompt."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= MAX_LINE else flat[:MAX_LINE] + " …"


def fenced(text: str, tag: str) -> str:
    """Put a longer text between marks that it cannot close."""
    inside = re.sub(rf"<(/?\s*{re.escape(tag)})", r"‹\1", text[:MAX_BLOCK], flags=re.IGNORECASE).strip()
    return f"<{tag}>\n{inside}\n</{tag}>"


_environment = ImmutableSandboxedEnvironment(
    loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
    undefined=StrictUndefined,
    # Prompts are no HTML; what must not be misread is put on one line or between marks.
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_environment.filters.update(line=line, fenced=fenced)
# Jinja2's own globals (range, cycler, namespace …) are not needed, and a name that is none should be an error.
_environment.globals.clear()


@cache
def compiled(source: str) -> Template:
    """Return a role's template. Raises jinja2.TemplateError."""
    return _environment.from_string(source)


def problem(source: str) -> str:
    """Say what is wrong with a role's template, or nothing: syntax, unknown names, includes and filters."""
    try:
        unknown = find_undeclared_variables(tree := _environment.parse(source)) - VARIABLES
        compiled(source)
        for include in tree.find_all(nodes.Include):
            if isinstance(include.template, nodes.Const):
                _environment.get_template(str(include.template.value))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        return f"{error.message or error}" + (f" (line {line} of the prompt)" if line else "")
    if unknown:
        return f"it uses {', '.join(sorted(unknown))}, but there is only {', '.join(sorted(VARIABLES))}"
    return ""


def render(name: str, **values: Any) -> str:
    """Render one of the prompts of this folder, such as `routing.md`."""
    return tidy(_environment.get_template(name).render(**values))


def tidy(text: str) -> str:
    """Leave out the empty lines that conditions leave behind."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
