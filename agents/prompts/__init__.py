"""Renders prompts: Jinja2 files in this folder and in `agents/roles`.

Unknown names are errors (StrictUndefined), and templates run in a sandbox, because an operator may add roles. Texts of
users and workspaces are only ever values, never templates.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Of a fact on one line, and of a longer text, such as the project's own rules.
MAX_LINE_CHARACTERS = 300
MAX_BLOCK_CHARACTERS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What a system prompt tells of the user's project and machine: only what stays the same for a long time.

    All of it may be missing, none of it is trusted. What changes often is beside the messages (`agents.workspace`).
    """

    name: str = ""
    system: str = ""
    shell: str = ""
    #: The texts of the project's AGENTS.md files or the like.
    rules: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another agent, as a prompt describes it."""

    name: str
    description: str


#: The names that a role's template may use.
VARIABLES = frozenset({"role", "tools", "agents", "workspace", "writes", "mode", "plan", "subtask"})


def flatten(text: object) -> str:
    """Put a fact on one line, so that it cannot look like a part of the prompt."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= MAX_LINE_CHARACTERS else flat[:MAX_LINE_CHARACTERS] + " …"


def fence(text: str, tag: str, characters: int = MAX_BLOCK_CHARACTERS) -> str:
    """Put a longer text between tags that it cannot close, so many characters of it at most."""
    inside = re.sub(rf"<(\s*/?\s*{re.escape(tag)})", r"‹\1", text[:characters], flags=re.IGNORECASE).strip()
    return f"<{tag}>\n{inside}\n</{tag}>"


_environment = ImmutableSandboxedEnvironment(
    loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
    undefined=StrictUndefined,
    # Prompts are not HTML. `flatten` and `fence` protect them from the values.
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_environment.filters.update(line=flatten, fenced=fence)
# Without Jinja2's own globals (range, cycler, namespace …), every name that is not a variable is an error.
_environment.globals.clear()


@cache
def compile_template(source: str) -> Template:
    """Return a role's template. Raises jinja2.TemplateError."""
    return _environment.from_string(source)


def find_problem(source: str) -> str:
    """Return what is wrong with a role's template: its syntax, names, includes or filters. Empty if nothing is."""
    try:
        unknown = find_undeclared_variables(tree := _environment.parse(source)) - VARIABLES
        compile_template(source)
        for include in tree.find_all(nodes.Include):
            if isinstance(include.template, nodes.Const):
                _environment.get_template(str(include.template.value))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        return f"{error.message or error}" + (f" (line {line} of the prompt)" if line else "")
    if unknown:
        return f"it uses {', '.join(sorted(unknown))}, but only {', '.join(sorted(VARIABLES))} exist"
    return ""


def render(name: str, **values: Any) -> str:
    """Render one of the prompts of this folder, such as `routing.md`."""
    return collapse_blank_lines(_environment.get_template(name).render(**values))


def collapse_blank_lines(text: str) -> str:
    """Remove the empty lines that conditions leave behind."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
