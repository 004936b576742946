"""Renames the model `Opening` and words help texts plainly. The table keeps its name: there is no SQL."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    # Without SQL a transaction would only be idle, and PostgreSQL ends one after 2 s (codelab.settings).
    atomic = False

    dependencies = [
        ("identity", "0002_editor_client"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelTable(name="opening", table="identity_opening"),
        migrations.RenameModel(old_name="Opening", new_name="SessionOpening"),
        migrations.AlterField(
            model_name="apikey",
            name="name",
            field=models.CharField(help_text="What the key is for.", max_length=100),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="prefix",
            field=models.CharField(
                editable=False, help_text="The first characters, to recognise the key.", max_length=16
            ),
        ),
        migrations.AlterField(
            model_name="client",
            name="scopes",
            field=models.CharField(
                default="api:read api:write", help_text="The most that its tokens may allow.", max_length=200
            ),
        ),
        migrations.AlterField(
            model_name="client",
            name="user",
            field=models.ForeignKey(
                blank=True,
                help_text="The user it acts as when it signs in by itself (client_credentials).",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="sessionopening",
            name="reference",
            field=models.CharField(help_text="Identifies the credential among those of its kind.", max_length=64),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="reference",
            field=models.CharField(help_text="Identifies the credential among those of its kind.", max_length=64),
        ),
        migrations.AlterField(
            model_name="tokenfamily",
            name="address",
            field=models.GenericIPAddressField(blank=True, help_text="The address that signed in.", null=True),
        ),
        migrations.AlterField(
            model_name="tokenfamily",
            name="password_mark",
            field=models.CharField(
                help_text="Changes with the password, which invalidates the family.", max_length=128
            ),
        ),
    ]
