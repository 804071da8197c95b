"""Completion by the shell, as docs/reference/cli.md sets it up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.owners import REPOSITORY

PAGE = (REPOSITORY / "docs/reference/cli.md").read_text(encoding="utf-8")
NEWEST_BASH = 'test "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -ge 44'
PROGRAM = Path(sys.executable).with_name("pgembedd")
"""As it is installed: the variable is called after the program."""


def pgembedd(**environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it as a shell's script does."""
    return subprocess.run([PROGRAM], env={**os.environ, **environment}, capture_output=True, text=True)


def script(shell: str) -> str:
    """Returns what the documented line evaluates."""
    assert f"_PGEMBEDD_COMPLETE={shell}_source pgembedd" in PAGE
    made = pgembedd(_PGEMBEDD_COMPLETE=f"{shell}_source")
    assert (made.returncode, made.stderr) == (0, "")
    return made.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_made_that_the_shell_understands(shell: str) -> None:
    text = script(shell)
    assert re.search(r"(complete|compdef) .*pgembedd", text)
    assert f"_PGEMBEDD_COMPLETE={shell}_complete" in text
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("shell", "words", "position", "expected"),
    [
        ("bash", "pgembedd mod", "1", {"plain,model"}),
        ("bash", "pgembedd model ", "2", {"plain,list", "plain,pull", "plain,verify"}),
        ("bash", "pgembedd run --pipel", "2", {"plain,--pipeline"}),
        ("zsh", "pgembedd mod", "1", {"plain", "model"}),
    ],
)
def test_a_word_is_completed(shell: str, words: str, position: str, expected: set[str]) -> None:
    made = pgembedd(_PGEMBEDD_COMPLETE=f"{shell}_complete", COMP_WORDS=words, COMP_CWORD=position)
    assert (made.returncode, made.stderr) == (0, "")
    assert expected <= set(made.stdout.splitlines())


@pytest.mark.slow
def test_bash_completes_a_command(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None or subprocess.run([bash, "-c", NEWEST_BASH]).returncode != 0:
        pytest.skip("bash 4.4 or newer is not on this machine")
    (tmp_path / "script").write_text(script("bash"), encoding="utf-8")
    words = "COMP_WORDS=(pgembedd doc); COMP_CWORD=1"
    asked = f'source ./script; {words}; _pgembedd_completion pgembedd; echo "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", asked], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("doctor", "")
