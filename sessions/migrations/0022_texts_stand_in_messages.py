"""From an hour after this migration on, compacted events leave out text that their message has.

It changes nothing. Undone, it puts the texts back, which the version before needs; stop the workers first.
"""

from django.db import migrations

from sessions.events.stored_text import PAYLOAD

SESSIONS = 100


def put_back(apps, schema_editor):
    Session = apps.get_model("agent_sessions", "Session")
    last = None
    while True:
        sessions = Session.objects.order_by("pk")
        if last is not None:
            sessions = sessions.filter(pk__gt=last)
        ids = list(sessions.values_list("pk", flat=True)[:SESSIONS])
        if not ids:
            return
        last = ids[-1]
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE agent_sessions_event SET payload = {PAYLOAD}"
                " WHERE session_id = ANY(%s) AND payload ? 'from_message'",
                [ids],
            )


class Migration(migrations.Migration):
    # Each piece is a transaction of its own.
    atomic = False

    dependencies = [("agent_sessions", "0021_indexes_of_call_offers")]

    operations = [migrations.RunPython(migrations.RunPython.noop, put_back)]
