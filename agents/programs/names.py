"""Programs that run other programs, and by which words."""

from agents.programs import words


def _same_reason(reason: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(words(*names), reason)


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
        "gvim mvim gview neovide emacs-nox xemacs kak hx helix batcat vidir rename prename mmv",
        "code code-insiders codium vscodium cursor windsurf subl zed atom idea pycharm webstorm goland clion kate",
        "gedit notepad notepad++ erl erlc swipl gprolog yap iex guile racket scheme mit-scheme sbcl clisp ecl ocaml",
        "utop clojure clj lein bb groovysh kotlinc scala-cli octave octave-cli matlab gnuplot sage maxima r",
        "jupyter jupyter-lab idle pdb ptpython bpython ptipython cling gjs qjs d8 mujs php-cgi phpdbg",
        "hhvm raku perl6 nickel dhall expect autoexpect patch gunzip gzip bunzip2 bzip2 xz unxz zstd unzstd lz4 unlz4",
        "brotli uncompress unlzma lzma unar cabextract ssh-keygen ssh-add ssh-copy-id ssh-keyscan",
        "ldd tsc-watch onchange chokidar watchman fab",
        "run-parts stap bpftrace dtrace nyc c8 dotenv-cli env-cmd start-server-and-test doppler op chamber aws-vault",
        "infisical teller sops kcov py-spy scalene memray viztracer pyinstrument kernprof mprof austin heaptrack zx",
        "npx-cli corepack easy_install ipdb pudb pydoc wasmtime wasmer rustup clang++ c++ clang-cl cl nmake swiftc",
        "xcrun xcodebuild dmd ldc2 gdc gfortran ghc runghc runhaskell crystal nim nimble",
        "systemctl launchctl initctl rc-service dnf yum apt apt-get dpkg rpm brew port pacman zypper apk choco winget",
    ),
    **_same_reason(
        "moves data over the network",
        "aria2c axel curl curlie ftp http https httpie lftp lynx links nc ncat netcat nmap rclone rsync scp sftp socat",
        "ssh tcpdump telnet tftp w3m wget wget2 xh certutil bitsadmin invoke-webrequest iwr invoke-restmethod irm",
        "dig nslookup getent host drill delv whois ping ping6 fping hping3 arping traceroute tracepath mtr nsupdate",
        "resolvectl wormhole magic-wormhole croc ngrok cloudflared tailscale rsh rlogin finger smbclient mail mailx",
        "sendmail mutt msmtp swaks ntpdate rdate ipfs s3cmd ffsend websocat grpcurl hurl youtube-dl yt-dlp iperf",
        "mosh autossh sshfs pssh tsh ab wrk hey siege vegeta k6 locust artillery",
        "iperf3 localtunnel twine semantic-release release-it",
        "http-server live-server browser-sync serve gh-pages vsce ovsx goreleaser",
        "aws az gcloud gsutil doctl flyctl heroku vercel netlify gh glab",
    ),
    **_same_reason(
        "is another agent",
        "claude codex gemini aider opencode goose amp crush qwen cursor-agent copilot droid auggie llm sgpt mods",
        "ollama",
    ),
    **_same_reason(
        "changes the machine",
        "chattr chgrp chmod chown diskpart fdisk format halt init insmod kill killall launchctl losetup mkfs mount",
        "modprobe passwd parted pkill poweroff reboot reg regedit rmmod setfacl shred shutdown swapoff swapon sysctl",
        "taskkill telinit umount useradd userdel usermod visudo wipefs",
    ),
}

#: Other names of programs.
ALIASES = {
    "py.test": "pytest",
    "eslint_d": "eslint",
    "_mocha": "mocha",
    "jest-cli": "jest",
    "prettierd": "prettier",
    "cnpm": "npm",
    "npm-cli": "npm",
    "mvnw": "mvn",
    "mvnd": "mvn",
    "gmake": "make",
    "bmake": "make",
    "bsdmake": "make",
    "mingw32-make": "make",
    "bundler": "bundle",
    "manage": "manage.py",
    "django-admin.py": "django-admin",
}

#: Programs that run code. They may run a file of the workspace, but not code in the command.
INTERPRETERS = frozenset(
    {"python", "pythonw", "pypy", "py", "pyw", "ipython", "jython", "micropython", "graalpy", "node", "nodejs"}
    | {"ts-node", "ts-node-esm", "tsx", "esno", "babel-node", "coffee", "ruby", "jruby", "truffleruby", "erb", "perl"}
    | {"php", "lua", "luajit", "luau", "fennel", "rscript", "julia", "elixir", "escript", "janet"}
)

PYTHONS = frozenset({"python", "pythonw", "pypy", "py", "pyw", "ipython", "jython", "micropython", "graalpy"})
