from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # The table of events is the largest there is; writing must go on meanwhile.
    atomic = False

    dependencies = [
        ('agent_sessions', '0009_ledger_and_projects'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='event',
            index=models.Index(condition=models.Q(('kind', 'agent_switched')), fields=['session', 'number'], name='event_agent_switched'),
        ),
    ]
