"""The compliance suite of Open Responses, which no package index has: its folder is given as OPENRESPONSES."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.programs.installation import MakeRun
from tests.programs.packages import install_from_npm
from tests.programs.provider import Task

PACKAGES = ("bun@1.4.5", "zod@3.25.76")
#: Tests of other requests: of the WebSocket and of compaction.
LEFT_OUT = ("websocket-", "compact-")
#: What the model does in the tests with a tool.
TASK = Task("", "get_weather", {"location": "San Francisco, CA"}, text="Hello there, friend.")
RUN_SECONDS = 300.0


def run_suite(suite: Path, folder: Path, run: MakeRun, model: str) -> bool:
    """Run the suite's tests and print their results. Return whether all have passed. Raises PackagesUnavailable."""
    folder.mkdir()
    programs = install_from_npm(folder, PACKAGES)
    for name in ("bin", "src"):
        shutil.copytree(suite / name, folder / name)
    found = re.findall(
        r'^    id: "([\w-]+)"', (suite / "src" / "lib" / "compliance-tests.ts").read_text(), re.MULTILINE
    )
    tests = ",".join(name for name in found if not name.startswith(LEFT_OUT))
    done = subprocess.run(
        [
            *(programs / "bun", "run", "bin/compliance-test.ts", "--json", "--filter", tests),
            *("--base-url", f"{run.url}/v1", "--api-key", run.api_key, "--model", model),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError):
        print(f"Open Responses with {model}: {(done.stderr or done.stdout)[-2000:]}", flush=True)
        return False
    for result in results:
        print(f"Open Responses with {model}: {result['name']}: {result['status']}", *result.get("errors") or ())
    return bool(results) and all(result["status"] == "passed" for result in results)
