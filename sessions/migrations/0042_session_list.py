"""What the list of sessions needs: pins, titles by a model, and whose the words of a message are."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0041_index_of_failed_turns'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='modelcall',
            name='model_call_purpose_known',
        ),
        migrations.AddField(
            model_name='message',
            name='owner_id',
            field=models.BigIntegerField(blank=True, editable=False, help_text="The session's owner. Empty: the search does not know it yet.", null=True),
        ),
        migrations.AddField(
            model_name='session',
            name='awaits_title',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text='The title is the beginning of the first message, until a model has written one.'),
        ),
        migrations.AddField(
            model_name='session',
            name='is_pinned',
            field=models.BooleanField(db_default=False, default=False, help_text='The user keeps it at the top of the list.'),
        ),
        migrations.AlterField(
            model_name='modelcall',
            name='purpose',
            field=models.CharField(choices=[('step', 'Step'), ('routing', 'Routing'), ('summary', 'Summary'), ('title', 'Title')], default='step', max_length=16),
        ),
        migrations.AddConstraint(
            model_name='modelcall',
            constraint=models.CheckConstraint(condition=models.Q(('purpose__in', ['step', 'routing', 'summary', 'title'])), name='model_call_purpose_known'),
        ),
    ]
