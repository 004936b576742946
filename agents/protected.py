"""Files that tools run or trust. A change of one always needs approval, whether a file tool or a command makes it.

An agent that may edit freely must not reach code that runs later without a question: on the next commit, at the next
`npm test`, or when a folder is opened. The check knows names only, at any depth and whatever their case, because the
server has no workspace. Names of programs that read configuration change often: a name that is missing is not harmless.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate


@dataclass(frozen=True, slots=True)
class Kind:
    """Names that are protected for one reason."""

    #: A sentence for people.
    reason: str
    #: Names in lower case, with `*` for any text. One with a slash at its end is a folder with everything in it.
    names: tuple[str, ...]


def _kind(reason: str, names: str) -> Kind:
    return Kind(reason, tuple(names.split()))


KINDS = (
    _kind(
        "Version control runs hooks, filters and programs that these name.",
        ".git/ .hg/ .svn/ .bzr/ .jj/ .gitmodules .gitattributes .gitconfig .hgrc .githooks/ .husky/ .huskyrc*"
        " .pre-commit-config.y*ml .pre-commit-hooks.yaml .overcommit.yml .lefthook/ lefthook*.yml lefthook*.yaml"
        " lefthook*.toml lefthook*.json .lefthook* .lintstagedrc* captainhook.json grumphp.yml .simple-git-hooks*"
        # It makes a folder a git repository, whose configuration can name programs that `git status` runs.
        " head",
    ),
    _kind(
        "Windows looks for programs in the workspace first, and commands may run these unasked.",
        "ls pwd git ls.exe pwd.exe git.exe ls.com pwd.com git.com ls.bat pwd.bat git.bat ls.cmd pwd.cmd git.cmd"
        " ls.ps1 pwd.ps1 git.ps1 ls.vbs pwd.vbs git.vbs ls.js pwd.js git.js ls.wsf pwd.wsf git.wsf",
    ),
    _kind(
        "Agents and assistants take instructions, servers, hooks and permissions from these.",
        ".cursor/ .cursorrules .claude/ .claude.json claude.md claude.*.md agents.md agents.*.md agent.md .gemini/"
        " gemini.md .codex/ .roo/ .roorules* .roomodes .kiro/ .windsurf/ .windsurfrules .continue/ .continuerc*"
        " .opencode/ opencode.json opencode.jsonc .aider* .cline/ .clinerules/ .clinerules* .kilocode/ .augment/"
        " .augment-guidelines .amazonq/ .junie/ .qwen/ qwen.md .goose/ .goosehints .trae/ .tabnine/ .crush/ crush.md"
        " crush.json .crush.json .factory/ .zencoder/ .agents/ .agent/ .copilot/ copilot-instructions.md warp.md"
        " *.instructions.md *.chatmode.md *.prompt.md *.mdc skill.md .rules .mcp.json mcp.json mcp_config.json"
        " .codelab/ .codelab-ide/ .openhands/ .openhands_instructions .amp/ replit.md",
    ),
    _kind(
        "Editors start tasks, servers and programs that these name when a folder is opened.",
        ".vscode/ .idea/ .fleet/ .zed/ .vs/ .nova/ .theia/ .run/ .devcontainer/ .devcontainer.json devcontainer.json"
        " .replit .storybook/"
        " *.code-workspace *.sublime-project *.sublime-workspace .exrc .vimrc .gvimrc .nvimrc .nvim.lua .lvimrc .vim/"
        " .nvim/ .dir-locals*.el .projectile .ycm_extra_conf.py .clangd .gitpod.* pyrightconfig.json",
    ),
    _kind(
        "Servers for continuous integration run these with secrets.",
        ".github/ .gitlab/ .gitlab-ci* *.gitlab-ci.yml .circleci/ .buildkite/ .teamcity/ .woodpecker* .woodpecker/"
        " .drone.yml .travis.yml appveyor.yml .appveyor.yml azure-pipelines*.yml azure-pipelines*.yaml"
        " .azure-pipelines/ bitbucket-pipelines.yml jenkinsfile* cloudbuild.y*ml buildspec*.y*ml .cirrus.* .semaphore/"
        " .forgejo/ .gitea/ .tekton/",
    ),
    _kind(
        "Shells, interpreters and debuggers run these when they start.",
        ".envrc .direnv/ .autoenv* .bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zshenv"
        " .zprofile .zlogin .zlogout .kshrc .cshrc .tcshrc .login .xinitrc .inputrc .tmux.conf .tool-versions"
        " mise*.toml .mise*.toml .mise/ *.nix devbox.json sitecustomize.py usercustomize.py *.pth"
        " pyvenv.cfg .pythonrc* .irbrc .pryrc .rprofile .renviron .ghci .iex.exs .ocamlinit .gdbinit .lldbinit .psqlrc"
        " .sqliterc .my.cnf .user.ini php.ini .htaccess .ssh/ .gnupg/ .netrc .curlrc .wgetrc .npmrc .yarnrc*"
        " .yarn/ .pnp.* .pnpmfile.* .pypirc pip.conf pip.ini .gemrc .bundle/ .condarc bunfig.toml nuget.config"
        " ansible.cfg .pdbrc .screenrc .ackrc .ripgreprc",
    ),
    _kind(
        "Test runners, linters and formatters run code or plug-ins of these.",
        "conftest.py pytest.ini .pytest.ini pytest.toml tox.ini noxfile.py setup.cfg pyproject.toml mypy.ini .mypy.ini"
        " .pylintrc pylintrc .flake8 .coveragerc ruff.toml .ruff.toml .eslintrc* .prettierrc* .stylelintrc*"
        " .commitlintrc* .babelrc* babel.config.* .swcrc .mocharc* .nycrc* .c8rc* .postcssrc* .releaserc* .parcelrc"
        " *.config.js *.config.cjs *.config.mjs *.config.ts *.config.cts *.config.mts *.conf.js *.conf.ts"
        " jest.config.* jest.setup.* vitest.workspace.* .rspec .rubocop*.yml .simplecov .luacheckrc phpunit.xml*"
        " .php-cs-fixer*.php rector.php phpstan*.neon* psalm.xml* .formatter.exs .credo.exs ctestcustom.cmake"
        " .bandit .golangci.*",
    ),
    _kind(
        "Build tools and package managers run scripts, plug-ins and tasks of these.",
        "package.json package-lock.json npm-shrinkwrap.json pnpm-lock.yaml yarn.lock pnpm-workspace.yaml lerna.json"
        " nx.json angular.json deno.json deno.jsonc nodemon.json .nodemonrc* gulpfile* gruntfile* webpack.*.js"
        " webpack.*.ts vite.*.ts vite.*.js rollup.*.js setup.py makefile gnumakefile *.mk makefile.* justfile .justfile"
        " taskfile.y*ml procfile* cmakelists.txt *.cmake cmakepresets.json cmakeuserpresets.json configure configure.ac"
        " meson.build build.bazel workspace.bazel module.bazel .bazelrc build.ninja sconstruct sconscript wscript"
        " build.gradle* settings.gradle* gradle.properties gradlew gradlew.bat gradle-wrapper.* init.gradle* .mvn/"
        " mvnw mvnw.cmd pom.xml build.xml *.sbt .sbtopts .jvmopts build.rs cargo.toml .cargo/ rust-toolchain*"
        " build.zig package.swift mix.exs rebar.config gemfile gemfile.* gems.rb *.gemspec rakefile rakefile.* *.rake"
        " guardfile dangerfile brewfile podfile *.podspec fastfile vagrantfile composer.json *.gradle"
        " *.gradle.kts buildsrc/ .swiftpm/ *.bzl project.clj deps.edn shadow-cljs.edn turbo.json"
        " project.json pubspec.yaml build.sc dune dune-project cabal.project* package.yaml tiltfile snakefile dvc.yaml"
        " pipfile poetry.toml uv.toml hatch.toml pdm.toml .pdm.toml pixi.toml global.json *.props"
        " *.targets *.sln *.csproj *.fsproj"
        " *.vbproj *.vcxproj directory.build.* makefile.pl build.pl cpanfile setup.hs *.cabal stack.yaml fabfile.py"
        " dodo.py docker-compose*.y*ml compose.y*ml compose.*.y*ml",
    ),
    _kind(
        "Programs of the project are installed here. Only package managers write them.",
        "node_modules/ .venv/ venv/ .tox/ .nox/",
    ),
)

#: Programs that may name the folders of the last kind: they make or remove them as a whole.
_MAKERS = frozenset({"rm", "rmdir", "venv", "virtualenv"})
#: Programs for which `git`, `ls`, `pwd` and `head` are names of files; for others they are words like any other.
_FILE_PROGRAMS = frozenset({"cp", "mv", "ln", "link", "touch", "mkdir", "rm", "git mv"})
_WORDS = frozenset({"git", "ls", "pwd", "head"})

#: What may stand before or behind a path in a word of a command.
_SEPARATORS = re.compile(r"[=:,@()#]")
_EXCLUSION = re.compile(r"--?(?:ignore|exclude|skip|omit|deselect)")


class _Names:
    """Names of some kinds, ready for look-ups that take the same time however many they are."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        names = [name for kind in kinds for name in kind.names]
        self._folders = frozenset(name[:-1] for name in names if name.endswith("/"))
        self._names = self._folders | {name for name in names if not name.endswith("/") and "*" not in name}
        self._wild = re.compile("|".join(translate(name) for name in names if "*" in name) or "(?!)")

    def has(self, names: Sequence[str]) -> bool:
        """Return whether a path is protected whose names in lower case these are; the last one is its own."""
        return not self._folders.isdisjoint(names) or self._is_name(names[-1])

    def has_end(self, name: str) -> bool:
        """Return whether letters of options and a protected name make this name in lower case, as in `-t.git`."""
        # No protected name is longer.
        ends = (name[place:] for place in range(max(2, len(name) - 40), len(name)))
        return any(end not in _WORDS and self._is_name(end) for end in ends)

    def _is_name(self, name: str) -> bool:
        return name in self._names or bool(self._wild.match(name))


_BY_KIND = [(kind, _Names([kind])) for kind in KINDS]
_ALL = _Names(KINDS)
_FOR_MAKERS = _Names(KINDS[:-1])


def kind_of(path: str) -> Kind | None:
    """Return why the file or folder at a normalized path is protected, or None if it is not."""
    names = path.casefold().split("/")
    return next((kind for kind, protected in _BY_KIND if protected.has(names)), None)


def is_exclusion(word: str) -> bool:
    """Return whether an option names what a program leaves alone."""
    return bool(_EXCLUSION.match(word))


def is_named(word: str, program: str) -> bool:
    """Return whether a word of a command names a protected file or folder, perhaps behind an option or in a list.

    `program` is the name of the program, for git with its subcommand.
    """
    if is_exclusion(word):
        return False
    protected = _FOR_MAKERS if program in _MAKERS else _ALL
    for place, piece in enumerate(_SEPARATORS.split(word.casefold())):
        # Windows removes dots and spaces at the end of a name.
        names = [name for part in re.split(r"[/\\]", piece) if (name := part.rstrip(". "))]
        if not names:
            continue
        if protected.has(names) and (names[-1] not in _WORDS or program in _FILE_PROGRAMS):
            return True
        if place == 0 and re.match(r"-\w", piece) and protected.has_end(names[0]):
            return True
    return False
