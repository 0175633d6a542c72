"""`verbguard rules`: the catalogue as a table, as pages, as data, and as the pages of docs/rules/."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from commands.running import COLOUR, COMMAND, ROOT, run, without

from verbguard.cli import markdown, pages, program
from verbguard.methods import METHODS
from verbguard.rules import FAMILIES, Rule, catalogue
from verbguard.rules.unseen import UNSEEN

RULES = catalogue()
ANSWERS = ("status", "content", "framing")


def told(*arguments: str, columns: int = 80) -> Result:
    """What the command prints, in this process."""
    result = CliRunner().invoke(program, ["rules", *arguments], env={"COLUMNS": str(columns), "TERM": "dumb"})
    assert isinstance(result.exception, (SystemExit, type(None))), result.exception
    return result


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    result = told(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return {row["id"]: row for row in json.loads(result.stdout)}


# ---- the table


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("arguments", [(), ("--all",)])
def test_the_table_fits(tmp_path: Path, rich: bool, arguments: tuple[str, ...]) -> None:
    """80 columns hold the table, with rich and without, and every id can be read in it whole."""
    done = run("rules", *arguments, cwd=tmp_path, command=COMMAND if rich else without("rich"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert COLOUR not in done.stdout
    firsts = [line.split()[0] for line in lines if line[:1].isalnum()]
    assert [id for id in firsts if id in RULES] == [rule.id for rule in pages.rules()]
    assert ({id for id in firsts if id in UNSEEN} == UNSEEN.keys()) == bool(arguments)


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("columns", [20, 40, 300])
def test_any_window_will_do(tmp_path: Path, rich: bool, columns: int) -> None:
    """A narrow window breaks lines and a wide one does not stretch them; nothing fails."""
    command = COMMAND if rich else without("rich")
    done = run("rules", "--all", cwd=tmp_path, command=command, COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= max(columns, 42) <= 300
    assert columns < 300 or max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal(tmp_path: Path, extra: dict[str, str], coloured: bool) -> None:
    """A terminal gets colour, unless NO_COLOR is set."""
    text = f"import pty, sys; sys.exit(pty.spawn({[*COMMAND, 'rules', '--family', 'put']!r}) >> 8)"
    done = run(cwd=tmp_path, command=(sys.executable, "-c", text), **extra)
    assert done.returncode == 0, done.stdout
    assert (re.search(r"\x1b\[[0-9;]*3[0-7]m", done.stdout) is not None) == coloured


def test_families_come_in_their_order() -> None:
    """The ids of a family stand together, the families in the order of the catalogue."""
    order = [FAMILIES.index(row["family"]) for row in listed().values()]
    assert order == sorted(order)
    assert listed().keys() == RULES.keys()


@pytest.mark.parametrize("profile", ["observe", "guard", "strict"])
def test_the_last_column_is_the_profile(profile: str) -> None:
    """--profile says whose actions are shown."""
    output = told("--profile", profile, "--family", "status").stdout
    assert profile in output.splitlines()[0]
    line = next(line for line in output.splitlines() if line.startswith("status-304-needs-precondition"))
    assert line.split()[-1] == {"observe": "observe", "guard": "observe", "strict": "replace"}[profile]


# ---- what is chosen


@pytest.mark.parametrize("method", [*METHODS, "LOCK"])
def test_choose_by_method(method: str) -> None:
    """--method keeps what may speak about it, however it is spelled."""
    found = listed("--method", method.lower())
    assert found.keys() == {rule.id for rule in RULES.values() if pages.concerns(rule, method)}
    assert all(method in row["methods"] or method not in METHODS for row in found.values())
    assert found.keys() < RULES.keys()
    assert ("put-no-collection" in found) == (method == "PUT")


@pytest.mark.parametrize("status", [100, 204, 304, 405, 599])
def test_choose_by_status(status: int) -> None:
    """--status keeps the rules about answers that may speak about it."""
    found = listed("--status", str(status))
    assert found.keys() < RULES.keys()
    assert all(row["when"] in ANSWERS for row in found.values())
    assert all(row["statuses"] is None or status in row["statuses"] for row in found.values())
    assert ("status-304-lean" in found) == (status == 304)


@pytest.mark.parametrize("family", FAMILIES)
def test_choose_by_family(family: str) -> None:
    """--family keeps one subject; an empty one is no mistake."""
    assert listed("--family", family).keys() == {rule.id for rule in RULES.values() if rule.family == family}
    assert told("--family", family).exit_code == 0


@pytest.mark.parametrize("strength", ["MUST", "SHOULD", "MAY", "practice"])
def test_choose_by_strength(strength: str) -> None:
    """--strength keeps what its source says so, in any case of letters."""
    found = listed("--strength", strength.swapcase())
    assert found.keys() == {rule.id for rule in RULES.values() if rule.strength == strength}


def test_choices_add_up() -> None:
    """Several choices are all kept; where nothing is left, the command says so."""
    assert (
        listed("--method", "PUT", "--status", "201").keys()
        == listed("--method", "PUT").keys() & listed("--status", "201").keys()
    )
    assert listed("--method", "CONNECT", "--family", "put") == {}
    assert "No rule is like that" in told("--method", "CONNECT", "--family", "put").stdout


def test_all_tells_what_is_not_looked_for() -> None:
    """--all adds the rules without a function, with their reasons; a family chooses among them too."""
    assert listed("--all").keys() == RULES.keys() | UNSEEN.keys()
    assert listed("--all")["patch-atomic"]["why"] == "pair"
    caching = listed("--all", "--family", "caching")
    assert caching.keys() == {row.id for row in UNSEEN.values() if row.family == "caching"}
    assert "invalidate-target" in told("--all", "--family", "caching").stdout


# ---- a page


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_has_its_page(rule: Rule) -> None:
    """The page has title, source, what may be chosen, and every word of the docstring."""
    result = told(rule.id)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == [rule.id, rule.title]
    assert max(map(len, lines)) <= 80
    words = " ".join(result.stdout.split())
    assert " ".join((rule.check.__doc__ or "").split()) in words
    assert rule.strength in words
    assert all(str(action) in words for action in rule.actions)


@pytest.mark.parametrize("id", ["put-no-collection", "status-304-lean", "if-match-evaluated", "idem-key-missing-400"])
@pytest.mark.parametrize("rich", [True, False])
def test_pages_fit(tmp_path: Path, id: str, rich: bool) -> None:
    """80 columns hold a page, with rich and without, and the words are the same."""
    done = run("rules", id, cwd=tmp_path, command=COMMAND if rich else without("rich"))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.split() == told(id).stdout.split()


def test_a_page_as_data() -> None:
    """--json gives a page as one object, with the text and what the table has."""
    page = json.loads(told("put-no-collection", "--json").stdout)
    assert page.pop("page").startswith("A PUT whose URI names a collection")
    assert page == listed()["put-no-collection"]
    assert page["actions"] == {"observe": "observe", "guard": "reject", "strict": "reject"}
    assert page["choices"] == ["off", "observe", "reject"]
    assert page["methods"] == ["PUT"]


def test_the_page_of_what_is_not_looked_for() -> None:
    """A rule without a function has a page that says why."""
    for row in UNSEEN.values():
        words = " ".join(told(row.id).stdout.split())
        assert row.reason in words and f"{row.why}:" in words
        assert json.loads(told(row.id, "--json").stdout)["reason"] == row.reason


def test_a_page_without_its_text(tmp_path: Path) -> None:
    """-OO removes docstrings; what is left of a page are its facts."""
    done = run("rules", "put-no-collection", cwd=tmp_path, command=(sys.executable, "-OO", "-m", "verbguard"))
    assert done.returncode == 0, done.stderr
    assert "PUT names a collection" in done.stdout and "RFC 9110 9.3.4" in done.stdout


MISTAKES = [
    # arguments                                    what the one line says
    (["put-nocollection"], "did you mean 'put-no-collection'?"),
    (["patch-atomc"], "did you mean 'patch-atomic'?"),
    (["zzzzzz"], "`verbguard rules` lists all of them"),
    (["--family", "pots"], "did you mean 'post'?"),
    (["--method", "PUTT"], "did you mean 'PUT'?"),
    (["put-no-collection", "--method", "PUT"], "names one rule"),
    (["put-no-collection", "--all"], "names one rule"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_mistakes_are_one_line(arguments: list[str], says: str) -> None:
    """A mistake of the caller is one line that says what to do next, and exit status 2."""
    result = told(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1 and says in result.stderr


@pytest.mark.parametrize("arguments", [["--status", "99"], ["--status", "x"], ["--strength", "ought"], ["--profile", "lax"]])
def test_values_are_checked(arguments: list[str]) -> None:
    """An option's value that cannot be is refused, with those that can."""
    result = told(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """`verbguard rules | head` ends without a traceback."""
    done = run(cwd=tmp_path, command=("sh", "-c", f"{sys.executable} -m verbguard rules --all | head -n 1"))
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


# ---- docs/rules/

FOLDER = ROOT / "docs" / "rules"
RENEW = f"docs/rules/ is stale; run: {markdown.COMMAND}"


def test_the_committed_pages_are_those_of_the_code() -> None:
    """docs/rules/ says what the code says."""
    wanted = markdown.pages()
    assert sorted(wanted) == sorted(file.name for file in FOLDER.glob("*")), RENEW
    stale = [name for name, text in wanted.items() if (FOLDER / name).read_text("utf-8") != text]
    assert not stale, f"{', '.join(stale)}: {RENEW}"


def test_the_command_writes_them(tmp_path: Path) -> None:
    """The command that a stale page asks for makes the folder, takes its own old pages away, and leaves others."""
    folder = tmp_path / "new" / "rules"
    folder.mkdir(parents=True)
    (folder / "gone.md").write_text(f"{markdown.NOTE}\n", "utf-8")
    (folder / "notes.md").write_text("mine\n", "utf-8")
    arguments = markdown.COMMAND.removeprefix("python -m verbguard rules").replace("docs/rules", str(folder)).split()
    assert told(*arguments).stdout == f"{len(markdown.pages())} pages in {folder}{os.linesep}"
    (folder / "notes.md").unlink()
    assert {file.name: file.read_text("utf-8") for file in folder.iterdir()} == markdown.pages()


def test_every_id_has_one_anchor() -> None:
    """A heading of its own for each id, on the page of its family: the address in a refusal ends there."""
    for family in pages.families():
        headings = re.findall(r"^## (.*)$", markdown.pages()[f"{family}.md"], re.MULTILINE)
        rules = [rule.id for rule in pages.rules() if rule.family == family]
        assert headings == rules + [row.id for row in UNSEEN.values() if row.family == family]


def test_every_link_leads_somewhere() -> None:
    """Links between the pages name a page and a heading that exist."""
    written = markdown.pages()
    for name, text in written.items():
        for file, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", re.sub(r"`[^`]*`", "", text)):
            page = written[file or name]
            assert not anchor or f"\n## {anchor}\n" in page, f"{name}: {file}#{anchor}"


def test_the_pages_have_the_words_of_the_terminal() -> None:
    """What the terminal shows of a rule stands on its page, word by word."""
    for rule in pages.rules():
        page = markdown.pages()[f"{rule.family}.md"].replace("\\", "").replace("**", "")
        for paragraph in pages.paragraphs(rule):
            assert f"{paragraph.lead} {paragraph.text}".strip().replace("\\", "").replace("**", "") in page
