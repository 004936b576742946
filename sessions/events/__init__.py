"""The event log: numbers, commits, publishes and follows events. The only writer of `Event`."""
