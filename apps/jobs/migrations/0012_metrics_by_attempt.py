import django.db.models.deletion
from django.db import migrations, models

# A point of before belongs to the attempt during which it was taken: the newest that began by then, else the first.
BELONGS = """
UPDATE jobs_metricpoint AS point SET attempt_id = (
    SELECT uuid FROM jobs_attempt AS attempt WHERE attempt.job_id = point.job_id
    ORDER BY attempt.created_at <= point.at DESC,
             CASE WHEN attempt.created_at <= point.at THEN attempt.epoch ELSE -attempt.epoch END DESC
    LIMIT 1)
"""
NOBODYS = "DELETE FROM jobs_metricpoint WHERE attempt_id IS NULL"


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0011_release_prepared_jobs'),
    ]

    operations = [
        migrations.AddField(
            model_name='metricpoint',
            name='attempt',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='metric_points', to='jobs.attempt'),
        ),
        migrations.RunSQL(BELONGS, migrations.RunSQL.noop),
        migrations.RunSQL(NOBODYS, migrations.RunSQL.noop),
        migrations.RunSQL('SET CONSTRAINTS ALL IMMEDIATE', migrations.RunSQL.noop),  # or the table cannot be altered
        migrations.AlterField(
            model_name='metricpoint',
            name='attempt',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='metric_points', to='jobs.attempt'),
        ),
        migrations.RemoveConstraint(
            model_name='metricpoint',
            name='one_point_per_series_and_step',
        ),
        migrations.AddConstraint(
            model_name='metricpoint',
            constraint=models.UniqueConstraint(fields=('attempt', 'name', 'step'), name='one_point_of_an_attempt'),
        ),
        migrations.RemoveField(
            model_name='metricpoint',
            name='job',
        ),
    ]
