"""Which names the documentation may use: an index of the project's code, and rules that find a name in it.

Only code counts: identifiers, texts of the program, files, targets. Comments and docstrings do not, because a name that
was renamed lives on there. What a rule cannot find does not exist, so a page that names it is wrong.
"""

from __future__ import annotations

import ast
import builtins
import fnmatch
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath

from django.apps import apps as django_apps
from django.urls import Resolver404, URLResolver, get_resolver, resolve

from codelab.environment import PROJECT, Environment
from sessions import metrics as sessions_metrics

#: Files that say nothing about the code: the pages, what they quote, and these tests with their wrong names.
NOT_CODE = re.compile(r"docs/|tests/docs/|[^/]+\.md$|requirements/.*\.txt$|bench/results/|.*\.(png|svg)$")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Module:
    """What one Python module defines."""

    names: set[str] = field(default_factory=set)
    #: What it imports, and from where.
    imported: dict[str, str] = field(default_factory=dict)
    #: Names in its classes, and its classes' bases.
    members: dict[str, set[str]] = field(default_factory=dict)
    bases: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Code:
    """The index."""

    files: set[str]
    modules: dict[str, Module] = field(default_factory=dict)
    #: Identifiers and words of texts, with the files' own names.
    words: set[str] = field(default_factory=set)
    #: Whole texts.
    texts: set[str] = field(default_factory=set)


@cache
def code() -> Code:
    """Read the project once."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0")
    index = Code({name for name in listed if name and (PROJECT / name).is_file()})
    for name in index.files:
        if NOT_CODE.match(name):
            continue
        path = PurePosixPath(name)
        index.words.update(word for part in path.parts for word in WORD.findall(part.partition(".")[0]))
        try:
            text = (PROJECT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path.suffix == ".py":
            _read_python(index, path, ast.parse(text))
        else:
            index.words.update(WORD.findall(text))
            index.texts.update(re.findall(r"[\"']([^\"'\n]+)[\"']", text))
    return index


def _read_python(index: Code, path: PurePosixPath, tree: ast.Module) -> None:
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    module = index.modules[name] = Module()
    docstrings = set()
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if node.body and isinstance(node.body[0], ast.Expr):
                    docstrings.add(id(node.body[0].value))
                if not isinstance(node, ast.Module):
                    index.words.add(node.name)
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.keyword(arg=str(word)):
                index.words.add(word)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            index.texts.add(node.value)
            index.words.update(WORD.findall(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            source = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            module.imported.update({(alias.asname or alias.name): source + alias.name for alias in node.names})
    module.names.update(_defined(tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            inner = {word.attr for word in ast.walk(node) if isinstance(word, ast.Attribute) and _is_self(word)}
            module.members[node.name] = set(_defined(node.body)) | inner
            module.bases[node.name] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def _is_self(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.TypeAlias(name=ast.Name(id=name)):
                yield name
            case ast.If() | ast.Try() | ast.With():
                yield from _defined(node.body)


# Rules


def has_file(name: str) -> bool:
    """Return whether a path, the end of one, or a pattern names a file or a folder of the project."""
    name = name.rstrip("/").removeprefix("./")
    if (PROJECT / name).exists() or name.startswith(".codelab/"):
        return True
    if name.startswith(".") and "/" not in name:
        return any(file.endswith(name) for file in code().files)
    return any(fnmatch.fnmatch(f"/{file}", f"*/{name}") for file in code().files)


def has_dotted(name: str) -> bool:
    """Return whether `module.name`, `Class.member` or `package.module.Class.member` exists; short forms count."""
    parts, index = name.split("."), code()
    if name in index.texts:
        return True
    for cut in range(len(parts), 0, -1):
        head, rest = ".".join(parts[:cut]), parts[cut:]
        for dotted in index.modules:
            if (dotted == head or dotted.endswith(f".{head}")) and _has(dotted, rest):
                return True
    if any(parts[0] in module.members and _has(dotted, parts) for dotted, module in index.modules.items()):
        return True
    return _has_foreign(parts)


def _has(dotted: str, rest: list[str]) -> bool:
    if not rest:
        return True
    module = code().modules[dotted]
    is_package = f"{dotted.replace('.', '/')}/__init__.py" in code().files
    if rest[0] not in module.names and not (is_package and rest[0] in module.imported):
        return False
    return len(rest) == 1 or (len(rest) == 2 and _has_member(rest[0], rest[1]))


def _has_member(cls: str, member: str) -> bool:
    for module in code().modules.values():
        bases = [base for base in module.bases.get(cls, ()) if base != cls]
        if member in module.members.get(cls, ()) or any(_has_member(base, member) for base in bases):
            return True
    return False


def _has_foreign(parts: list[str]) -> bool:
    """Return whether a library that the project imports has this name."""
    sources = {module.imported[parts[0]] for module in code().modules.values() if parts[0] in module.imported}
    for source in sources:
        if source.split(".")[0] not in {name.split(".")[0] for name in code().modules}:
            try:
                thing = pkgutil.resolve_name(source)
                for part in parts[1:]:
                    thing = getattr(thing, part)
            except (ImportError, AttributeError, ValueError):
                continue
            return True
    return False


def has_in_file(file: str, name: str) -> bool:
    """Return whether a Python file defines a name, or a class in it a member."""
    end = file.removesuffix(".py").replace("/", ".")
    dotted = [each for each in code().modules if each == end or each.endswith(f".{end}")]
    members = [inner for each in dotted for inner in code().modules[each].members.values()]
    return any(_has(each, name.split(".")) for each in dotted) or any(name in inner for inner in members)


def has_function(name: str) -> bool:
    """Return whether a function or class of this name exists, with its module or without."""
    if "." in name:
        return has_dotted(name)
    defined = (names for module in code().modules.values() for names in (module.names, *module.members.values()))
    return hasattr(builtins, name) or any(name in names for names in defined)


def has_word(name: str) -> bool:
    """Return whether a single word is one of the code's: a field, a status, a tool, a module, a process."""
    return name in code().words or hasattr(builtins, name)


@cache
def settings() -> set[str]:
    """Return the names of all settings, with those that name a file instead, and of those of the terminal client."""
    names = {str(each.validation_alias) for each in Environment.model_fields.values()}
    client = {text for text in code().texts if re.fullmatch(r"CODELAB_(URL|API_KEY|CONFIG|KEYRING)", text)}
    return client | names | {f"{name}_FILE" for name in names}


@cache
def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    listed = re.findall(r"^([a-z][a-z -]*):(?!=)", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return {name for line in listed for name in line.split()}


@cache
def tables() -> set[str]:
    """Return the names of the database's tables, with their indexes and constraints."""
    names = {apps.label for apps in django_apps.get_app_configs()}
    for model in django_apps.get_models(include_auto_created=True):
        names.add(model._meta.db_table)
        names.update(str(each.name) for each in (*model._meta.indexes, *model._meta.constraints))
    return names


@cache
def metrics() -> set[str]:
    """Return the names of our own metrics, as `/metrics` shows them."""
    paths = (PROJECT / "sessions/metrics.py", PROJECT / "codelab/metrics.py")
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    names = re.findall(r'GaugeMetricFamily\(\s*"(\w+)"', text)
    for thing in vars(sessions_metrics).values():
        if hasattr(thing, "_name") and hasattr(thing, "_type"):
            names.append(f"{thing._name}_total" if thing._type == "counter" else thing._name)
    return set(names)


@cache
def has_route(path: str) -> bool:
    """Return whether the service answers a path, by HTTP or by WebSocket; `{name}` stands for a part of it.

    What ends with a slash, or names no page, may be the beginning of others.
    """
    path = path.partition("?")[0].removeprefix("/")
    beginning = f"{path.rstrip('/')}/"
    if (
        path == "acp"
        or path.startswith(("ws/", "api/v1/ws/"))
        or any(route.startswith(beginning) for route in _routes(get_resolver()))
    ):
        return True
    for value in ("x", "00000000-0000-0000-0000-000000000000"):
        filled = re.sub(r"\{\w+\}", value, path)
        try:
            resolve(f"/{filled}")
        except Resolver404:
            continue
        return True
    return False


def _routes(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern, path)
        yield path
