"""What operators see and do: Celery tasks of turns, hosts and memory of workers, and the permissions to act."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agent_sessions', '0039_answers_say_who'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='session',
            options={'permissions': [('export_session', 'Can export sessions of all users')]},
        ),
        migrations.AlterModelOptions(
            name='turn',
            options={'permissions': [('cancel_turn', 'Can cancel turns of all users'), ('retry_turn', 'Can retry failed turns of all users'), ('requeue_turn', 'Can put turns back into the queue')]},
        ),
        migrations.AddField(
            model_name='modelcall',
            name='task',
            field=models.CharField(blank=True, db_default='', default='', help_text='Ran the step.', max_length=200, verbose_name='Celery task'),
        ),
        migrations.AddField(
            model_name='turn',
            name='task',
            field=models.CharField(blank=True, db_default='', default='', help_text='Brought it to that worker. Empty: the worker found it.', max_length=200, verbose_name='Celery task'),
        ),
        migrations.AddField(
            model_name='worker',
            name='host',
            field=models.CharField(blank=True, db_default='', help_text='Machine or container.', max_length=253),
        ),
        migrations.AddField(
            model_name='worker',
            name='memory',
            field=models.PositiveBigIntegerField(blank=True, help_text='Bytes of main memory that it occupies. Empty: its system does not say.', null=True),
        ),
        migrations.AddField(
            model_name='worker',
            name='version',
            field=models.CharField(blank=True, db_default='', help_text='Version of the service.', max_length=32),
        ),
    ]
