"""Commands as the pages print them."""

from __future__ import annotations

from apps.jobs.previews import shell_lines


def test_options_stand_under_their_program_and_the_whole_pastes_into_a_shell() -> None:
    lines = shell_lines(["engine", "serve", "--name", "a b", "--quiet"])
    assert lines == ["engine serve \\", "  --name 'a b' \\", "  --quiet"]


def test_a_command_of_one_line_has_no_continuation() -> None:
    assert shell_lines(["engine", "serve"]) == ["engine serve"]
    assert shell_lines([]) == []
