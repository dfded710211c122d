"""Suites of tasks, eval runs, their scores and every sample answered."""

from __future__ import annotations

import re
from typing import Any

from django.db import models

from apps.accounts.models import TeamOwned
from apps.catalog.models import ModelVersion
from apps.evals.querysets import EvalRunQuerySet
from apps.jobs.models import Job

_CHAT_MARKS = re.compile(r"<\|[^|>]*\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>")
_ROLES = ("system", "user", "assistant", "model")
_ROLE = re.compile(rf"^(?:{'|'.join(_ROLES)})\n\s*")


class Suite(models.Model):
    """A versioned list of tasks; the shipped ones come from apps/evals/suites (sync_suites)."""

    name = models.SlugField(max_length=60)
    version = models.CharField(max_length=20)
    title = models.CharField(max_length=120)
    description = models.CharField(max_length=400, blank=True)
    # [{name, title, metric, filter, num_fewshot, item_count, prompt_tokens, output_tokens,
    #   files: [{name, sha256, size_bytes}]}]; tokens are rough means per item, for the time estimate
    tasks = models.JSONField()
    options = models.JSONField(default=dict)  # engine options that the suite asks for unless a run says otherwise
    is_current = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="one_suite_per_version")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def item_count(self) -> int:
        return sum(task["item_count"] for task in self.tasks)


class EvalRun(TeamOwned):
    id_prefix = "ev"

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="eval_runs")
    suite = models.ForeignKey(Suite, on_delete=models.PROTECT, related_name="runs")
    engine = models.CharField(max_length=40)
    tasks = models.JSONField(default=list)  # names of the suite's tasks that were asked for
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="eval_run")

    objects = EvalRunQuerySet.as_manager()  # type: ignore[misc]  # the abstract base names a wider one

    def __str__(self) -> str:
        return f"{self.version} on {self.suite}"

    @property
    def options(self) -> dict[str, Any]:
        """The engine's, as the job has them: with what it took from other jobs, once it was placed."""
        options: dict[str, Any] = self.job.spec.get("options", {})
        return options


class Score(models.Model):
    """One metric of one task, with everything that makes it comparable to another."""

    run = models.ForeignKey(EvalRun, on_delete=models.CASCADE, related_name="scores")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="scores")
    task = models.CharField(max_length=120)
    metric = models.CharField(max_length=60)
    filter = models.CharField(max_length=60, default="none")
    value = models.FloatField()  # 0 to 1 for rates
    standard_error = models.FloatField(null=True)
    item_count = models.PositiveIntegerField()
    higher_is_better = models.BooleanField(default=True)
    is_headline = models.BooleanField(default=False)  # the suite's chosen metric of the task
    # The identity of a score: two scores may be compared only where all of these agree.
    precision = models.CharField(max_length=20)
    engine = models.CharField(max_length=40)
    engine_version = models.CharField(max_length=40)
    engine_options = models.JSONField(default=dict)
    suite_version = models.CharField(max_length=80)
    task_version = models.CharField(max_length=40)
    num_fewshot = models.PositiveSmallIntegerField(default=0)
    chat_template_sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "task", "metric", "filter"], name="one_score_per_metric")]


class SampleResult(models.Model):
    """One item of one task as the model answered it."""

    run = models.ForeignKey(EvalRun, on_delete=models.CASCADE, related_name="samples")
    task = models.CharField(max_length=120)
    item = models.PositiveIntegerField()  # the engine's doc_id
    item_sha256 = models.CharField(max_length=64)  # pairs the same item across runs
    value = models.FloatField()  # of the headline metric
    prompt = models.TextField()
    answer = models.TextField()
    target = models.TextField()
    detail = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "task", "item"], name="one_result_per_item")]
        ordering = ["task", "item"]

    @property
    def question(self) -> str:
        """The last thing that was said to the model, without the chat template's marks and earlier examples."""
        parts = [part.strip() for part in _CHAT_MARKS.split(self.prompt)]
        parts = [_ROLE.sub("", part) for part in parts if part not in _ROLES]
        last = next((part for part in reversed(parts) if part), self.prompt)
        return last.rpartition("\n\n")[2].strip()
