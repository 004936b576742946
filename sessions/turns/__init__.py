"""The only writer of turns. One transaction for each verb, the session locked first; each returns a `Change`."""
