"""The worker's consumer of tasks: it sends its events for Flower together, several times a second.

Celery sends them after each turn of its loop, and kombu creates a client for each message: with three events a task
that was a seventh of a worker's processor time.
"""

import sys
from typing import Any

from celery.events import dispatcher
from celery.worker import consumer

#: Flower's page refreshes every few seconds.
FLUSH_INTERVAL_SECONDS = 0.5


class EventDispatcher(dispatcher.EventDispatcher):
    """Celery's dispatcher of events, which sends those of tasks only when it is told to.

    The event loop of the turns reports tasks, and must not wait for the broker.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.buffer_limit = sys.maxsize


class Consumer(consumer.Consumer):
    """Celery's consumer, with another rhythm for events."""

    def register_with_event_loop(self, hub: Any) -> None:
        """Send events from now on. Celery cancels the timer with the connection."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(FLUSH_INTERVAL_SECONDS, self._send_events)

    def on_send_event_buffered(self) -> Any:
        """Do nothing: the event goes with the next ones."""

    def shutdown(self) -> None:
        """Send the events of the last tasks, and close the connection."""
        self._send_events()
        super().shutdown()

    def _send_events(self) -> None:
        dispatcher: Any = getattr(self, "event_dispatcher", None)
        if dispatcher:
            dispatcher.flush()
