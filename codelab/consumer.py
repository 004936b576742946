"""The worker's consumer of tasks: it sends its events for Flower together, several times a second.

Celery sends them after each turn of its loop, and kombu creates a client for each message: with three events a task
that was a seventh of a worker's processor time.
"""

from typing import Any

from celery.worker import consumer

#: Flower's page refreshes every few seconds.
FLUSH_INTERVAL_SECONDS = 0.5


class Consumer(consumer.Consumer):
    """Celery's consumer, with another rhythm for events."""

    def register_with_event_loop(self, hub: Any) -> None:
        """Send events from now on. Celery cancels the timer with the connection."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(FLUSH_INTERVAL_SECONDS, self._send_events)

    def on_send_event_buffered(self) -> Any:
        """Do nothing: the event goes with the next ones. A full buffer is sent at once."""

    def _send_events(self) -> None:
        dispatcher: Any = getattr(self, "event_dispatcher", None)
        if dispatcher:
            dispatcher.flush()
