"""write_file, apply_diff, create_directory, delete_file and move_file.

A file is written beside its place and then renamed, so a reader, or a client that is killed, finds the old content or
the new one. Symbolic links are refused: rules and people have judged the path that they read.
"""

import errno
import os
import secrets as random
import stat
from contextlib import suppress
from typing import Any

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import blocks, paths, secrets, texts
from codelab_cli.tools.arguments import ApplyDiff, CreateDirectory, DeleteFile, MoveFile, WriteFile
from codelab_cli.tools.backups import Backups
from codelab_cli.tools.root import Links, Place, Root, check_is_file

#: Names of files that are not written to their end.
TEMPORARY_PREFIX = ".codelab-write-"


def write_file(root: Root, arguments: WriteFile, *, backups: Backups, allow_secrets: bool) -> dict[str, Any]:
    """Create a file or replace its content."""
    codec = texts.find_codec(arguments.encoding)
    try:
        content = arguments.content.encode(codec)
    except UnicodeError:
        raise ToolFailed(f"The content cannot be written in {codec}; use utf-8") from None
    if arguments.create_dirs:
        _create_parents(root, arguments.path)
    with root.place(arguments.path, Links.REFUSE) as place:
        before = _read_old(place)
        kept = backups.keep(place.path, before) if arguments.backup and before is not None else None
        replace(place, content)
    answer: dict[str, Any] = {"success": True, "path": arguments.path, "bytes_written": len(content)}
    if kept:
        answer["backup_path"] = kept
    return answer | _change(arguments.path, before, content, allow_secrets=allow_secrets)


def apply_diff(root: Root, arguments: ApplyDiff, *, allow_secrets: bool) -> dict[str, Any]:
    """Replace lines of a file."""
    changes = blocks.parse(arguments.diff)
    with root.place(arguments.path, Links.REFUSE) as place:
        if not allow_secrets:
            # What was found, and how often, tells of the content.
            secrets.check(place.path)
        before = place.read(texts.MAX_FILE_BYTES)
        old = texts.decode(before, arguments.path)
        content = old.encode(blocks.apply(old.text, changes, arguments.path), arguments.path)
        replace(place, content)
    answer = {"success": True, "path": arguments.path, "blocks_applied": len(changes)}
    return answer | _change(arguments.path, before, content, allow_secrets=allow_secrets)


def create_directory(root: Root, arguments: CreateDirectory) -> dict[str, Any]:
    """Create a folder."""
    if arguments.recursive:
        _create_parents(root, arguments.path)
    with root.place(arguments.path, Links.REFUSE) as place:
        existed = place.is_folder()
        if not existed:
            if place.stat() is not None:
                raise ToolFailed(f"{arguments.path} is a file")
            _make(place)
    return {"success": True, "path": arguments.path, "created": not existed, "already_exists": existed}


def delete_file(root: Root, arguments: DeleteFile, *, allow_secrets: bool) -> dict[str, Any]:
    """Delete a file, a symbolic link itself, or an empty folder."""
    with root.place(arguments.path, Links.KEEP_LAST) as place:
        status = place.stat()
        if status is None:
            raise ToolFailed(f"{arguments.path} does not exist")
        before = None
        if stat.S_ISDIR(status.st_mode):
            if place.name == ".":
                raise ToolFailed("The workspace itself cannot be deleted")
            _remove_folder(place, arguments.path)
        else:
            if stat.S_ISREG(status.st_mode) and status.st_size <= texts.MAX_FILE_BYTES:
                before = place.read(texts.MAX_FILE_BYTES)
            os.unlink(place.name, dir_fd=place.folder)
            os.fsync(place.folder)
    answer: dict[str, Any] = {"success": True, "path": arguments.path}
    return answer if before is None else answer | _change(arguments.path, before, None, allow_secrets=allow_secrets)


def move_file(root: Root, arguments: MoveFile, *, allow_secrets: bool) -> dict[str, Any]:
    """Move or rename a file, a symbolic link itself, or a folder."""
    with root.place(arguments.source, Links.KEEP_LAST) as old, root.place(arguments.target, Links.KEEP_LAST) as new:
        status = old.stat()
        if status is None:
            raise ToolFailed(f"{arguments.source} does not exist")
        if "." in (old.name, new.name):
            raise ToolFailed("The workspace itself cannot be moved")
        if not allow_secrets and secrets.is_secret(old.path) and not secrets.is_secret(new.path):
            # Under the new name it could be read.
            secrets.check(old.path)
        _check_is_free(old, new, status, arguments.target)
        content = None
        if stat.S_ISREG(status.st_mode) and status.st_size <= texts.MAX_FILE_BYTES:
            content = old.read(texts.MAX_FILE_BYTES)
        try:
            os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise ToolFailed(f"{arguments.target} is on another disk; write it there and delete the old") from None
            raise
        for folder in {old.folder, new.folder}:
            os.fsync(folder)
    answer: dict[str, Any] = {"success": True, "from": arguments.source, "to": arguments.target}
    if content is None:
        return answer
    digest = texts.sha256(content)
    return answer | {"sha256_before": digest, "sha256_after": digest}


def replace(place: Place, content: bytes) -> None:
    """Write a file so that it has its old content or the new one at any time; its mode stays. Raises ToolFailed."""
    status = place.stat()
    if status is not None:
        check_is_file(status, place.path)
        if not status.st_mode & 0o222:
            raise ToolFailed(f"{place.path} is read-only")
    name = f"{TEMPORARY_PREFIX}{random.token_hex(8)}"
    # With O_EXCL no file and no link of that name is opened. A new file gets what the user's umask leaves.
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=place.folder)
    try:
        with os.fdopen(file, "wb") as stream:
            if status is not None:
                _keep_owner_and_mode(file, status)
            stream.write(content)
            stream.flush()
            os.fsync(file)
        os.replace(name, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=place.folder)
        raise
    os.fsync(place.folder)


def remove_unfinished(root: Root, path: str) -> None:
    """Remove what a killed client left beside a file that it was writing."""
    with suppress(OSError, ToolFailed), root.place(path, Links.REFUSE) as place:
        for name in os.listdir(place.folder):  # noqa: PTH208 (by descriptor)
            if name.startswith(TEMPORARY_PREFIX):
                os.unlink(name, dir_fd=place.folder)


def _keep_owner_and_mode(file: int, status: os.stat_result) -> None:
    with suppress(OSError):
        os.fchown(file, status.st_uid, status.st_gid)
    # Behind the owner, whose change clears bits of the mode.
    os.fchmod(file, stat.S_IMODE(status.st_mode))


def _read_old(place: Place) -> bytes | None:
    status = place.stat()
    if status is None:
        return None
    return place.read(texts.MAX_FILE_BYTES)


def _create_parents(root: Root, path: str) -> None:
    names = paths.split(path)
    for length in range(1, len(names)):
        with root.place(paths.join(names[:length]), Links.REFUSE) as place:
            if place.stat() is None:
                _make(place)
            elif not place.is_folder():
                raise ToolFailed(f"{place.path} is a file and not a folder")


def _make(place: Place) -> None:
    # Another program may have made it in the meantime. Opening it shows what it is.
    with suppress(FileExistsError):
        os.mkdir(place.name, dir_fd=place.folder)
    os.fsync(place.folder)


def _remove_folder(place: Place, path: str) -> None:
    try:
        os.rmdir(place.name, dir_fd=place.folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ToolFailed(f"{path} is a folder that is not empty") from None
        raise
    os.fsync(place.folder)


def _check_is_free(old: Place, new: Place, status: os.stat_result, target: str) -> None:
    """Raise ToolFailed if something is at the target, other than the same file in another case."""
    existing = new.stat()
    if existing is None:
        return
    is_same = os.path.samestat(existing, status) and paths.fold(old.name) == paths.fold(new.name)
    if not is_same or old.name == new.name:
        raise ToolFailed(f"{target} exists already; delete it first, or choose another name")


def _change(path: str, before: bytes | None, after: bytes | None, *, allow_secrets: bool) -> dict[str, Any]:
    """Return the hashes and the diff of a change."""
    change: dict[str, Any] = {}
    if before is not None:
        change["sha256_before"] = texts.sha256(before)
    if after is not None:
        change["sha256_after"] = texts.sha256(after)
    # The old lines of a secret file are not sent.
    hides = not allow_secrets and (
        secrets.is_secret(path) or any(secrets.is_key(side or b"") for side in (before, after))
    )
    if not hides and (text := texts.diff(path, before, after)):
        change["diff"] = text
    return change
