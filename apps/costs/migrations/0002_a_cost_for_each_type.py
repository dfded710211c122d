from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0001_initial")]

    operations = [
        migrations.RemoveConstraint(model_name="costentry", name="one_cost_per_attempt_and_day"),
        migrations.AddConstraint(
            model_name="costentry",
            constraint=models.UniqueConstraint(
                fields=["attempt", "day", "device_type"], name="one_cost_per_attempt_day_and_type"
            ),
        ),
    ]
