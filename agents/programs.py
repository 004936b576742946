"""Data about programs for `agents.commands`: which run other programs, and by which words.

A program that is missing here is not harmless, only unknown.
"""


def _same_reason(reason: str, *names: str) -> dict[str, str]:
    return {name: reason for line in names for name in line.split()}


#: Programs that always make a command OPAQUE, each with the rest of the sentence "NAME …".
OPAQUE_PROGRAMS: dict[str, str] = {
    **_same_reason(
        "is a built-in of a shell",
        ". alias autoload bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc",
        "declare dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for function",
        "getopts hash help history if in jobs let local logout mapfile popd printf pushd read readarray readonly",
        "return select set setenv setlocal shift shopt source suspend test then times trap true type typeset ulimit",
        "umask unalias unset until wait while zmodload call cls copy del dir endlocal erase goto md mklink move pause",
        "popd rd rem ren rmdir start title ver verify vol foreach invoke-expression iex invoke-command icm sal gal",
        "new-object set-alias start-process saps",
    ),
    **_same_reason(
        "runs another program or a script",
        "ash bash bosh busybox cmd csh dash elvish fish ksh ksh93 mksh nu oksh powershell pwsh rbash rksh sash sh tcsh",
        "toybox xonsh yash zsh",
        "at batch chpst chroot chrt choom crontab dbus-launch dbus-run-session doas entr env ionice exec fakeroot",
        "firejail bwrap flatpak flock forfiles gosu gtimeout hyperfine inotifywait ld.so ld-linux ltrace nice nohup",
        "nsenter numactl parallel pkexec prlimit proot proxychains rlwrap runas runcon runuser schroot script",
        "scriptreplay setarch setpriv setsid setuidgid softlimit ssh-agent sshpass start-stop-daemon stdbuf strace su",
        "su-exec sudo sudoedit systemd-run taskset time timeout tini tmux screen torify torsocks truss tsocks unbuffer",
        "unshare uscan valgrind vagrant watch watchexec wine wsl xargs xdg-open xvfb-run zellij open gdb lldb rr perf",
        "rundll32 regsvr32 mshta wscript cscript wmic msbuild installutil conhost explorer schtasks psexec winrm",
        "npx pnpx bunx uvx pipx tox nox mise asdf direnv nix nix-shell nix-env guix conda mamba micromamba poetry pdm",
        "hatch rye pixi uv dotenv cross-env concurrently nodemon pm2 foreman honcho overmind supervisord just task",
        "docker docker-compose podman nerdctl buildah kubectl helm oc minikube ctr crictl lxc lxc-attach multipass",
        "ansible ansible-playbook salt terraform tofu pulumi packer",
        "awk gawk mawk nawk goawk sed gsed ed ex vi vim nvim view rvim vimdiff emacs emacsclient nano pico joe micro",
        "less more most man info pg bat dialog whiptail expect m4 tar bsdtar gtar star cpio zip unzip rar 7z ar",
        "java javac jshell jrunscript groovy scala kotlin sbt ant dotnet csi fsi osascript automator tclsh wish",
        "sqlite3 sqlite psql mysql mariadb mongo mongosh redis-cli clickhouse irb pry ghci gcc g++ cc clang ld as",
        "latex pdflatex xelatex lualatex tex gs convert magick ffmpeg jq yq ctags cscope strip install split sort",
        "git-shell gitk tig hg svn bzr svnadmin cvs gpg openssl tee dd truncate xxd snap service",
        "systemctl launchctl initctl rc-service dnf yum apt apt-get dpkg rpm brew port pacman zypper apk choco winget",
    ),
    **_same_reason(
        "moves data over the network",
        "aria2c axel curl curlie ftp http https httpie lftp lynx links nc ncat netcat nmap rclone rsync scp sftp socat",
        "ssh tcpdump telnet tftp w3m wget wget2 xh certutil bitsadmin invoke-webrequest iwr invoke-restmethod irm",
        "aws az gcloud gsutil doctl flyctl heroku vercel netlify gh glab",
    ),
    **_same_reason(
        "changes the machine",
        "chattr chgrp chmod chown diskpart fdisk format halt init insmod kill killall launchctl losetup mkfs mount",
        "modprobe passwd parted pkill poweroff reboot reg regedit rmmod setfacl shred shutdown swapoff swapon sysctl",
        "taskkill telinit umount useradd userdel usermod visudo wipefs",
    ),
}

#: Programs that run code. They may run a file of the workspace, but not code in the command.
INTERPRETERS = frozenset(
    {"python", "pypy", "py", "node", "nodejs", "ruby", "perl", "php", "lua", "luajit", "rscript", "julia"}
)

#: Modules of `python -m` that do not run code from the command line.
PYTHON_MODULES = frozenset({"pytest", "unittest", "mypy", "ruff", "black", "flake8", "isort", "build", "compileall"})

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
    "pnpm": frozenset({"test", "t", "run", "install", "i", "ls", "list", "outdated", "audit", "start"}),
    "yarn": frozenset({"test", "run", "install", "list", "outdated", "audit", "start", "build"}),
    "bun": frozenset({"test", "run", "install", "i"}),
    "deno": frozenset({"test", "check", "fmt", "lint"}),
    "cargo": frozenset({"build", "check", "clippy", "doc", "fmt", "test", "tree", "update", "bench", "clean", "run"}),
    "go": frozenset({"build", "test", "vet", "fmt", "mod", "list", "version"}),
    "pip": frozenset({"install", "list", "show", "freeze", "check"}),
    "make": frozenset({"", "all", "build", "check", "clean", "format", "lint", "test", "tests"}),
    "mvn": frozenset({"compile", "test", "package", "verify", "clean"}),
    "gradle": frozenset({"build", "test", "check", "clean", "assemble"}),
    "gradlew": frozenset({"build", "test", "check", "clean", "assemble"}),
    "dart": frozenset({"analyze", "format", "test", "pub", "fix"}),
    "flutter": frozenset({"analyze", "test", "pub", "build", "clean", "doctor"}),
}

#: Options that make a program run another one, read another configuration or write a file of the caller's choice.
#: Long ones may be abbreviated, letters may be combined, `*` is any text.
DANGEROUS_OPTIONS: dict[str, frozenset[str]] = {
    "git": frozenset(
        {"-c", "--config", "--config-env", "--exec", "--exec-path", "-x", "--upload-pack", "--receive-pack"}
        | {"--ext-diff", "--textconv", "--open-files-in-pager", "-O", "--output", "--template", "--git-dir"}
        | {"--work-tree", "--interactive", "--strategy", "--separate-git-dir", "--recurse-submodules", "--gpg-sign"}
        | {"--no-index", "--edit-description", "--pathspec-from-file", "--hook-path", "--contents", "-u*"}
    ),
    "find": frozenset({"-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf", "-fls"}),
    "fd": frozenset({"-x", "-X", "--exec", "--exec-batch"}),
    "fdfind": frozenset({"-x", "-X", "--exec", "--exec-batch"}),
    "rg": frozenset({"--pre", "--hostname-bin", "--search-zip", "-z"}),
    "npm": frozenset(
        {"--script-shell", "--node-options", "--shell", "--call", "--git", "--editor", "--viewer", "--prefix"}
        | {"--userconfig", "--globalconfig", "--registry", "-c", "-C"}
    ),
    "pnpm": frozenset({"--script-shell", "--shell-mode", "--config", "--dir", "-C", "-c"}),
    "yarn": frozenset({"--cwd", "--use-yarnrc", "--script-shell"}),
    "bun": frozenset({"--preload", "-r", "--require", "--eval", "-e", "--print", "-p", "--config", "-c", "--cwd"}),
    "deno": frozenset({"--config", "--import-map", "--allow-run", "--allow-all", "-A", "--preload"}),
    "cargo": frozenset({"--config", "-Z", "--manifest-path", "-C"}),
    "go": frozenset(
        {"-exec", "-toolexec", "-vettool", "-overlay", "-modfile", "-ldflags", "-gcflags", "-asmflags", "-o"}
    ),
    "pip": frozenset({"--index-url", "-i", "--extra-index-url", "--target", "-t", "--prefix", "--root", "--python"}),
    "make": frozenset(
        {"*=*", "--eval", "-E", "--file", "-f", "--makefile", "-C", "--directory", "-I", "--include-dir"}
    ),
    "mvn": frozenset({"-D*", "--file", "-f", "--settings", "-s", "--define"}),
    "gradle": frozenset({"-I", "--init-script", "-c", "-b", "--build-file", "--include-build", "-D*", "-P*"}),
    "gradlew": frozenset({"-I", "--init-script", "-c", "-b", "--build-file", "--include-build", "-D*", "-P*"}),
    "pytest": frozenset({"--pdbcls", "--override-ini", "-o", "-p", "-c", "--config-file", "--rootdir", "--basetemp"}),
    "mypy": frozenset({"--python-executable", "--config-file", "--install-types"}),
    "eslint": frozenset({"--rulesdir", "--resolve-plugins-relative-to", "-c", "--config", "-o", "--output-file", "-f"}),
    "tsc": frozenset({"--plugins"}),
    "prettier": frozenset({"--plugin", "--config"}),
    "rm": frozenset({"--no-preserve-root"}),
    "cp": frozenset({"--target-directory", "-t"}),
}
