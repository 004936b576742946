"""Shared metrics: dead processes leave no gauges and no files, and a full folder ends nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from codelab import metric_files
from codelab.environment import PROJECT

#: Joins a folder under a name, counts, and waits to be killed.
PROCESS = """
import sys
from pathlib import Path
from codelab import metric_files
metric_files.join(Path(sys.argv[1]), sys.argv[2])
from prometheus_client import Counter, Gauge, Histogram
Gauge("sockets", "", multiprocess_mode="livesum").set(5)
Counter("messages", "").inc(3)
Histogram("seconds", "").observe(0.2)
many = Counter("many", "", ["label"])
for number in range(int(sys.argv[3])):
    many.labels(label=str(number) * 50).inc()
print("ready", flush=True)
sys.stdin.read()
"""


def start(folder: Path, name: str, labels: int = 0) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), name, str(labels)],
        cwd=PROJECT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    lines = [process.stdout.readline()]
    while "ready" not in lines[-1]:
        assert lines[-1], process.communicate()[1]
        lines.append(process.stdout.readline())
    return process


def end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def figures(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    return {sample.name: sample.value for sample in samples if sample.labels.get("le") in (None, "+Inf")}


def test_a_killed_process_leaves_its_counters_and_nothing_else(tmp_path: Path) -> None:
    both = [start(tmp_path, name) for name in ("web-1", "web-2")]
    metric_files.fold_dead(tmp_path)
    assert (figures(tmp_path)["sockets"], figures(tmp_path)["messages_total"]) == (10, 6)
    end(both[0])
    metric_files.fold_dead(tmp_path)
    metric_files.fold_dead(tmp_path)
    left = figures(tmp_path)
    assert (left["sockets"], left["messages_total"], left["seconds_count"], left["seconds_bucket"]) == (5, 6, 2, 2)
    assert not list(tmp_path.glob("*web-1*"))
    # A container that is started again has the same name.
    again = start(tmp_path, "web-1")
    assert (figures(tmp_path)["sockets"], figures(tmp_path)["messages_total"]) == (10, 9)
    end(again, both[1])
    metric_files.fold_dead(tmp_path)
    assert "sockets" not in figures(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"fold.lock", "counter_archive.db", "histogram_archive.db"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a folder in a file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    return folder


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_folder_that_fills_up_ends_no_process(small: Path) -> None:
    try:
        process = start(small, "web-1", labels=5000)
        assert process.poll() is None
        assert figures(small)["messages_total"] == 3
        end(process)
    finally:
        unmount(small)


def test_a_process_starts_with_a_full_folder_and_says_so(small: Path) -> None:
    try:
        with (small / "filling").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        code = (
            "import django; django.setup(); from sessions import metrics; metrics.messages_processed.inc(); print('on')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            env={
                **os.environ,
                "PROMETHEUS_MULTIPROC_DIR": str(small),
                "DJANGO_SETTINGS_MODULE": "codelab.settings",
                "CODELAB_LOG_FORMAT": "json",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "on" in done.stdout
        assert "metrics_not_shared" in done.stdout + done.stderr
        assert "No space left" in done.stdout + done.stderr
    finally:
        unmount(small)
