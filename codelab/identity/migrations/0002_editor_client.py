"""Registers the original's editor and its benchmark client; public, because a program given away has no secret."""

from django.db import migrations


def register(apps, schema_editor):
    apps.get_model("identity", "Client").objects.get_or_create(
        client_id="codelab-flutter-app",
        defaults={"name": "CodeLab IDE", "scopes": "api:read api:write"},
    )


class Migration(migrations.Migration):
    dependencies = [("identity", "0001_initial")]
    operations = [migrations.RunPython(register, migrations.RunPython.noop)]
