from django.db import migrations

# Until now the scheduler pinned a job where it first prepared it. Nobody else could pin one of these kinds.
RELEASE = """
UPDATE jobs_job SET prepared_on_id = CASE WHEN finished_at IS NULL THEN pinned_host_id END, pinned_host_id = NULL
WHERE pinned_host_id IS NOT NULL AND kind IN ('train', 'evaluate', 'benchmark', 'convert', 'tokenise')
"""


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0010_prepared_on'),
    ]

    operations = [
        migrations.RunSQL(RELEASE, migrations.RunSQL.noop),
    ]
