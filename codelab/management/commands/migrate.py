"""`migrate`, beside running processes: with time limits of its own, one at a time, and as often as it takes."""

import time
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import IntegrityError, OperationalError, connection

from codelab.schema import LOCK_TIMEOUT, Patience, PatientSchemaEditor, validate_constraints

#: Any number that nothing else locks. One `migrate` works at a time.
ADVISORY_LOCK = 7_206_512_001


class Command(migrate.Command):
    """Django's command, patient with locks and harmless to those who hold them."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate. A try that gets no lock within a moment is rolled back and made again."""
        if options.get("plan") or options.get("check_unapplied") or options["database"] != connection.alias:
            super().handle(*args, **options)
            return
        say = self._say if options["verbosity"] else self._say_nothing
        connection.SchemaEditorClass = partial(PatientSchemaEditor, say=say)  # type: ignore[assignment]  # it is only called
        patience = Patience(say)
        try:
            while True:
                self._prepare(say)
                try:
                    super().handle(*args, **options)
                    validate_constraints(say)
                    return
                except OperationalError as error:
                    patience.wait(error)
        except IntegrityError as error:
            text = f"The tables have rows that the new version refuses: {error}".strip()
            raise CommandError(f"{text}\nMend these rows, then run migrate again.") from error
        finally:
            del connection.SchemaEditorClass
            self._restore()

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _say_nothing(self, text: str) -> None:
        pass

    def _prepare(self, say: Any) -> None:
        with connection.cursor() as cursor:
            # Building an index of a large table takes as long as it takes.
            cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
            cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            is_first = True
            while True:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
                if cursor.fetchone() == (True,):
                    return
                if is_first:
                    say("Another `migrate` is at work. This one waits for it.")
                is_first = False
                time.sleep(0.5)

    def _restore(self) -> None:
        if connection.connection is None or not connection.is_usable():
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
        connection.set_limits(connection.connection)  # type: ignore[attr-defined]  # of `codelab.postgresql`
