"""What every form on a page shares."""

from __future__ import annotations

from django import forms

from apps.accounts.problems import Problem


def add_problem(form: forms.BaseForm, problem: Problem) -> None:
    """A service's refusal beside the field it names, else above the form. `file line 3` is the field `file`."""
    if not problem.errors:
        form.add_error(None, str(problem))
    for error in problem.errors:
        name, _, line = error.field.partition(" ")
        message = f"{line.capitalize()}: {error.message}" if line else error.message
        form.add_error(name if name in form.fields else None, message)
