"""Files that hold secrets: keys, credentials, environment files. They are sent only when a person says so.

Names decide, at any depth and whatever their case, because a file must not be opened to find out. A key in a file with
another name is known by its first line.
"""

import re
from collections.abc import Iterable
from fnmatch import translate

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools.paths import fold

#: A slash at the end means a folder with everything in it.
SECRET_NAMES = (
    ".env", ".env.*", "*.env", ".envrc", ".flaskenv", ".dev.vars",
    ".ssh/", ".gnupg/", ".aws/", ".azure/", ".gcloud/", ".kube/", ".secrets/", ".password-store/",
    ".docker/config.json",
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_*_sk", "*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.pkcs12",
    "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.asc", "*.gpg", "*.age",
    ".netrc", "_netrc", ".npmrc", ".yarnrc.yml", ".pypirc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials",
    ".dockercfg", ".boto", ".s3cfg", ".vault-token", ".terraformrc", "credentials", "credentials.*",
    "*credentials.json", "client_secret*.json", "service-account*.json", "service_account*.json",
    "secrets", "secrets.y*ml", "secrets.json", "secrets.toml", "secrets.ini", "secrets.env", "*.secret", "*.secrets",
    "kubeconfig", "*.tfstate", "*.tfstate.*", "*.tfvars", "master.key", ".git/config", "token", "token.txt",
    "tokens.json", "auth.json", ".token",
)  # fmt: skip
#: Of the names above, these are examples or public. Source code that reads credentials has none in it.
PUBLIC_NAMES = (
    ".env.example", ".env.sample", ".env.template", ".env.dist", ".env.defaults", "example.env", "sample.env",
    "*.pub", "credentials.py", "credentials.ts", "credentials.js", "credentials.go", "credentials.rs", "credentials.md",
)  # fmt: skip

#: The first line of a private key, in PEM, OpenSSH's or PGP's form.
_KEY = re.compile(rb"\s{0,20}-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")

ADVICE = "A person can allow it by starting the client with --allow-secrets. Go on without its content."


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, names)) or "(?!)")


_FOLDERS = frozenset(name[:-1] for name in SECRET_NAMES if name.endswith("/"))
_NAMES = _pattern([name for name in SECRET_NAMES if "/" not in name])
_ENDS = tuple(name for name in SECRET_NAMES if "/" in name[:-1])
_PUBLIC = _pattern(PUBLIC_NAMES)


def is_secret(path: str) -> bool:
    """Return whether the file at a path, or something above it, has a name of secrets."""
    # As it is opened: `.env/` and `./.env` are the same file.
    names = [name for name in fold(path).split("/") if name not in ("", ".")]
    folded, last = "/".join(names), names[-1] if names else ""
    if not _FOLDERS.isdisjoint(names):
        return True
    if any(folded == end or folded.endswith(f"/{end}") for end in _ENDS):
        return True
    return bool(_NAMES.match(last)) and not _PUBLIC.match(last)


def is_key(content: bytes) -> bool:
    """Return whether the content of a file is a private key."""
    return bool(_KEY.match(content[:200]))


def check(path: str, content: bytes = b"") -> None:
    """Raise ToolFailed if a path, or the content that was read there, holds secrets."""
    if is_secret(path) or is_key(content):
        raise ToolFailed(f"{path} may hold secrets (keys, passwords, tokens), so it is not sent. {ADVICE}")
