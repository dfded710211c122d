from typing import Any

from django.db import migrations, models


def keep_what_was_said(apps: Any, schema_editor: Any) -> None:
    """A policy that was set named safetensors and GGUF, and nothing besides."""
    apps.get_model("catalog", "TeamPolicy").objects.update(allows_pickle=False)


class Migration(migrations.Migration):
    dependencies = [("catalog", "0010_card_lineage")]

    operations = [
        migrations.AddField("teampolicy", "allows_pickle", models.BooleanField(default=True)),
        migrations.AddField("teampolicy", "allows_remote_code", models.BooleanField(default=False)),
        migrations.RunPython(keep_what_was_said, migrations.RunPython.noop),
    ]
