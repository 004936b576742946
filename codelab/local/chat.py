"""Entry of `make chat`: the terminal client against `make run`, which is started for it where it does not run yet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from codelab.environment import environment
from codelab.local.startup import HEALTH_TIMEOUT_SECONDS, SERVER_TIMEOUT_SECONDS, address

#: Of a service that is told to end.
STOP_TIMEOUT_SECONDS = 20.0


def is_healthy(url: str) -> bool:
    """Return whether the service answers and is well."""
    try:
        # Without the environment's proxies, which cannot reach this machine.
        with build_opener(ProxyHandler({})).open(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def started(url: str) -> Iterator[None]:
    """Have the service run inside this context. Raises SystemExit with a sentence when it does not start."""
    log = environment.data_dir / "logs" / "chat.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    print(f"Starting the service; its output is in {log} …", file=sys.stderr)
    with log.open("wb") as output:
        # A session of its own, so that keys of this terminal reach the client alone.
        service = subprocess.Popen(
            [sys.executable, "-m", "codelab.local"], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + HEALTH_TIMEOUT_SECONDS + 2 * SERVER_TIMEOUT_SECONDS
            while not is_healthy(url):
                if service.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{log.read_text(errors='replace')[-2000:]}\nThe service did not start.")
                time.sleep(0.3)
            yield
        finally:
            service.send_signal(signal.SIGTERM)
            try:
                service.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                service.kill()


def talk(url: str) -> int:
    """Run the terminal client; return its exit code."""
    program = Path(sys.executable).parent / "codelab"
    folder = os.environ.get("FOLDER") or "."
    return subprocess.call([program, "--url", url, "chat", "--folder", folder])


def main() -> int:
    # What is started ends with this process, however that ends.
    os.environ.setdefault("MAKELEVEL", "1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    url = f"http://{address(environment.host, environment.port)}"
    try:
        if is_healthy(url):
            return talk(url)
        with started(url):
            code = talk(url)
        print("The service was started for this chat and is stopped. `make run` keeps it running.", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
