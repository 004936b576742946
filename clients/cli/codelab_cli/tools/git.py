"""git_diff and git_commit."""

from typing import Any

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import paths, secrets, texts
from codelab_cli.tools.arguments import GitCommit, GitDiff
from codelab_cli.tools.commands import Commands, Ended

#: Programs that the configuration of a repository names are not run to look at it.
_QUIET = ("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "color.ui=false")
#: For changed lines of private keys, whatever the file is called.
_KEY = "-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
LOOK_SECONDS = 20
#: A commit runs the hooks of the repository.
COMMIT_SECONDS = 300
KEPT_BYTES = 60_000


async def git_diff(commands: Commands, arguments: GitDiff, *, allow_secrets: bool) -> dict[str, Any]:
    """Return the changes that are not committed."""
    path = paths.join(paths.split(arguments.path))
    options = [
        "--no-ext-diff",
        "--no-textconv",
        "--no-renames",
        "--relative",
        *(["--staged"] if arguments.staged else []),
    ]
    if not allow_secrets:
        secrets.check(path)
    hidden = [] if allow_secrets else await _find_secrets(commands, *options, path=path)
    if len(hidden) > 200:
        raise ToolFailed("Too many files with secrets have changed; name a smaller path")
    without = [f":(exclude,literal){name}" for name in hidden]
    shown = await _git(commands, "diff", *options, "--", _literal(path), *without)
    answer: dict[str, Any] = {"success": True, "diff": texts.cut(shown.stdout, KEPT_BYTES)}
    if hidden:
        answer["note"] = f"Changes of {', '.join(hidden[:20])} are not shown: they may hold secrets. {secrets.ADVICE}"
    return answer


async def _find_secrets(commands: Commands, *options: str, path: str) -> list[str]:
    """Return the changed files that have a name of secrets, or a private key in what has changed."""
    found: list[str] = []
    for having in ((), (f"-G{_KEY}",)):
        words = ("diff", *options, *having, "--name-only", "-z", "--", _literal(path))
        names = (await _git(commands, *words, limit=2_000_000)).stdout.split("\0")
        found += [name for name in names if name and name not in found and (having or secrets.is_secret(name))]
    return found


async def git_commit(commands: Commands, arguments: GitCommit) -> dict[str, Any]:
    """Stage the paths that are named and commit what is staged."""
    for path in arguments.paths or ():
        paths.split(path)
    if arguments.paths:
        await _git(commands, "add", "--", *map(_literal, arguments.paths))
    await _check_staged(commands)
    await _git(commands, "commit", "--quiet", f"--message={arguments.message}", timeout=COMMIT_SECONDS)
    commit = await _git(commands, "rev-parse", "HEAD")
    return {"success": True, "commit": commit.stdout.strip()}


async def _check_staged(commands: Commands) -> None:
    """Raise ToolFailed unless something is staged, and all of it is in the workspace."""
    prefix = (await _git(commands, "rev-parse", "--show-prefix")).stdout.strip("\n")
    staged = (await _git(commands, "diff", "--cached", "--name-only", "-z", limit=2_000_000)).stdout.split("\0")
    if not any(staged):
        raise ToolFailed("Nothing is staged, so nothing was committed. Name the files in `paths`.")
    if outside := next((name for name in staged if name and not name.startswith(prefix)), None):
        raise ToolFailed(f"{outside} is staged and outside the workspace, so nothing was committed")


def _literal(path: str) -> str:
    return f":(literal){path}"


async def _git(commands: Commands, *words: str, timeout: float = LOOK_SECONDS, limit: int = 2 * KEPT_BYTES) -> Ended:
    """Run git in the workspace's root. Raises ToolFailed with what git says when it fails."""
    ended = await commands.run([*_QUIET, *words], cwd=".", timeout=timeout, kept_bytes=limit)
    if ended.timed_out:
        raise ToolFailed(f"git {words[0]} took longer than {timeout:.0f} seconds and was ended")
    if ended.exit_code:
        said = texts.cut((ended.stderr or ended.stdout).strip(), 4000)
        raise ToolFailed(f"git {words[0]} failed: {said or f'exit code {ended.exit_code}'}")
    return ended
