"""Without an attack a neighbour's stream has no gap, and a gap is seen."""

from __future__ import annotations

import signal
import time

import pytest

from tests.live.service import Service
from tests.neighbours.stream import neighbour

pytestmark = pytest.mark.live


def test_a_neighbour_streams_without_gaps(service: Service) -> None:
    with neighbour(service) as stream:
        time.sleep(0.5)
    assert stream.frames >= 3


def test_a_gap_is_seen(service: Service) -> None:
    with pytest.raises(AssertionError, match="worst_gap_seconds"), neighbour(service, max_gap_seconds=0.9):
        service.processes["web"].send_signal(signal.SIGSTOP)
        time.sleep(1)
        service.processes["web"].send_signal(signal.SIGCONT)
        time.sleep(0.5)
