"""What the forms of every kind of job show before anything runs."""

from __future__ import annotations

import shlex
from typing import Any

from django import forms

from apps.accounts.paging import whole_number
from apps.engines.base import Command


def command_facts(command: Command) -> dict[str, Any]:
    """A command that has not run: its placeholders still stand where the host fills in a value."""
    return {"lines": shell_lines(command.argv), "env": command.env, "files": command.files, "is_exact": False}


def shell_lines(argv: list[str]) -> list[str]:
    """A command as a person would paste it: one option a line, indented under the program, quoted for a shell."""
    lines: list[str] = []
    for word in argv:
        if word.startswith("-") or not lines:
            lines.append(shlex.quote(word))
        elif lines[-1].startswith("-") and " " not in lines[-1]:
            lines[-1] += f" {shlex.quote(word)}"
        elif len(lines) == 1:
            lines[0] += f" {shlex.quote(word)}"
        else:
            lines.append(shlex.quote(word))
    lines = lines[:1] + ["  " + line for line in lines[1:]]
    return [line + " \\" for line in lines[:-1]] + lines[-1:]


def chosen_row(form: forms.Form, name: str) -> Any:
    """The row of a select: from a bound form, else the first choice, which is what the browser shows."""
    if form.is_bound:
        form.is_valid()
        return form.cleaned_data.get(name)
    rows = form.fields[name].queryset  # type: ignore[attr-defined]
    return rows.filter(pk=whole_number(str(form.initial.get(name) or ""))).first() or rows.first()
