from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0017_reason_result_refused")]

    operations = [
        migrations.AddField(model_name="attempt", name="saw_claim", field=models.BooleanField(default=True)),
    ]
