"""The words behind programs: subcommands, modules, and which programs write what they name."""

from agents.programs import words

#: Modules of `python -m` that do not run code from the command line. Each is checked as a program of that name.
PYTHON_MODULES = frozenset(
    {"pytest", "unittest", "mypy", "ruff", "black", "flake8", "isort", "build", "compileall", "pip", "venv", "coverage"}
    | {"pylint", "py_compile", "tabnanny", "bandit", "pyright", "pycodestyle", "pydocstyle"}
)

#: Words that make a program run what follows, as a command of its own.
LAUNCHERS = frozenset({("bundle", "exec")})

#: Scripts and programs that also open a shell, a console or a database, and by which words.
CONSOLES: dict[str, frozenset[str]] = {
    "manage.py": frozenset(
        {"shell", "shell_plus", "dbshell", "runscript", "sqlshell", "pyshell", "notebook", "repl", "exec", "eval"}
        | {"-c", "--command", "startproject", "startapp", "sendtestemail", "runserver_plus", "graph_models"}
    ),
    "artisan": frozenset({"tinker", "db", "serve"}),
    "console": frozenset({"dbal:run-sql", "doctrine:query:sql", "eval", "shell"}),
    "rails": frozenset({"console", "c", "runner", "r", "dbconsole", "db", "new", "plugin", "server", "s"}),
    "flask": frozenset({"shell", "run"}),
    "mix": frozenset({"run", "eval", "cmd", "do", "archive.install", "escript.install", "local", "local.hex", "hex"}),
    "symfony": frozenset({"console", "php", "composer", "run", "server:start", "serve"}),
    "wp": frozenset({"shell", "eval", "eval-file", "db", "cli", "ssh"}),
    "drush": frozenset({"php", "php:cli", "php:eval", "ev", "eval", "php:script", "sql:cli", "core:cli", "ssh", "sql"}),
    "mkdocs": frozenset({"serve", "gh-deploy"}),
    "changeset": frozenset({"publish"}),
    "dart": frozenset({"add", "global", "publish"}),
    "flutter": frozenset({"add", "global", "publish"}),
    "scrapy": frozenset({"shell", "fetch", "view", "deploy"}),
    "setup.py": frozenset({"upload", "upload_docs", "register", "easy_install"}),
    "serverless": frozenset({"deploy", "invoke", "plugin"}),
}
CONSOLES["django-admin"] = CONSOLES["manage.py"]

#: Subcommands that run nothing that the command itself names.
SUBCOMMANDS: dict[str, frozenset[str]] = {
    "git": frozenset(
        {"add", "blame", "branch", "checkout", "cherry-pick", "clone", "commit", "describe", "diff", "fetch", "grep"}
        | {"init", "log", "ls-files", "merge", "mv", "pull", "push", "rebase", "reset", "restore", "rev-parse"}
        | {"revert", "rm", "shortlog", "show", "stash", "status", "switch", "tag"}
    ),
    "npm": frozenset(
        {"test", "t", "run", "run-script", "install", "i", "ci", "ls", "list", "outdated", "audit", "start", "prune"}
    ),
    "pnpm": frozenset(
        {"test", "t", "run", "install", "i", "ls", "list", "outdated", "audit", "start", "build", "lint", "dev"}
    ),
    "yarn": frozenset({"", "test", "run", "install", "list", "outdated", "audit", "start", "build", "lint", "dev"}),
    "bun": frozenset({"test", "run", "install", "i"}),
    "deno": frozenset({"test", "check", "fmt", "lint"}),
    "cargo": frozenset({"build", "check", "clippy", "doc", "fmt", "test", "tree", "update", "bench", "clean", "run"}),
    "go": frozenset({"build", "test", "vet", "fmt", "mod", "list", "version"}),
    "pip": frozenset({"install", "list", "show", "freeze", "check"}),
    "make": frozenset({"", "all", "build", "check", "clean", "docs", "format", "help", "lint", "run", "test", "tests"}),
    "mvn": frozenset({"compile", "test", "package", "verify", "clean"}),
    "gradle": frozenset({"build", "test", "check", "clean", "assemble"}),
    "gradlew": frozenset({"build", "test", "check", "clean", "assemble"}),
    "gem": frozenset({"list", "search", "contents", "dependency", "environment", "info", "outdated", "which"}),
    "composer": frozenset({"install", "validate", "show", "outdated", "dump-autoload", "dumpautoload", "licenses"}),
    "bundle": frozenset({"install", "exec", "list", "show", "check", "info", "outdated", "lock"}),
    "lerna": frozenset({"run", "ls", "list", "changed", "diff"}),
    "nx": frozenset({"build", "test", "lint", "run", "run-many", "affected", "show", "report", "format:check", "list"}),
    "coverage": frozenset({"run", "report", "html", "xml", "json", "lcov", "combine", "erase", "annotate"}),
    "pre-commit": frozenset({"run", "validate-config", "validate-manifest", "sample-config"}),
    "lefthook": frozenset({"run", "dump", "validate", "version"}),
    "husky": frozenset(),
    "ninja": frozenset({"", "all", "build", "clean", "test", "-C", "-j", "-v"}),
    "swift": frozenset({"build", "test", "run"}),
    "zig": frozenset({"build", "test", "fmt"}),
    "cabal": frozenset({"build", "test", "run", "check"}),
    "stack": frozenset({"build", "test", "run"}),
    "rustc": frozenset(),
    "ng": frozenset({"build", "test", "lint", "serve"}),
    "dart": frozenset({"analyze", "format", "test", "pub", "fix"}),
    "flutter": frozenset({"analyze", "test", "pub", "build", "clean", "doctor"}),
}

#: Programs, git with its subcommand, that write none of the files that they name.
READERS = words(
    "cat head tail grep egrep fgrep zgrep rg ag ack ls wc diff cmp comm find fd fdfind nl od hexdump hd",
    "strings cksum sum md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum basename dirname",
    "realpath readlink which whereis file stat du tree cut tac rev fold column join paste cloc tokei scc",
    "zcat bzcat xzcat",
) | {
    f"git {subcommand}"
    for subcommand in words(
        "add blame branch commit describe diff grep log ls-files rev-parse shortlog show status tag fetch",
        "pull push merge cherry-pick rebase revert",
    )
}

#: Runners, linters and formatters: what a file that they are given holds later is not what a command says. Their
#: plug-ins may have options that write, so a word behind an option counts as its value.
RUNNERS = words(
    "pytest unittest coverage mypy ruff black flake8 isort pylint pyright bandit pycodestyle pydocstyle",
    "py_compile compileall tabnanny eslint prettier tsc stylelint jest vitest mocha ava jasmine playwright",
    "cypress biome oxlint standard xo rubocop rspec phpunit phpstan psalm gofmt goimports golangci-lint",
    "staticcheck rustfmt clang-format clang-tidy cppcheck shellcheck shfmt yamllint hadolint actionlint",
    "markdownlint jsonlint taplo swiftlint ktlint",
)
