"""The prose is true: what it names exists, and what exists and users need is named."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

from cli.running import KEYS, RunningServer
from quiver.cli.main import app
from quiver.service.extensions import EXTENSIONS
from quiver.service.operations import OPERATIONS
from quiver.service.rates import AWS_RATES, Rates
from quiver.settings import SETTINGS

ROOT = Path(__file__).parents[2]
OPERATIONS_PAGE = ROOT / "docs" / "operations.md"
EXTENSIONS_PAGE = ROOT / "docs" / "extensions.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMANDS: dict[str, set[str]] = {
    name: {
        option
        for each in (command, *getattr(command, "commands", {}).values())
        for parameter in each.params
        for option in parameter.opts
    }
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
TOP_LEVEL = tuple(p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".venv"))
MADE_LATER = {".venv", ".venv/bin/python", ".venv/bin/quiver"}
STORE_WORDS = re.compile(r"^(index|log|checkpoint|segment|catalog)/")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(text: str) -> Iterator[str]:
    """The contents of backticks and the lines of code blocks."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        yield from block.splitlines()
    prose = re.sub(r"^```[^\n]*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", prose)


def table(text: str, heading: str) -> dict[str, tuple[str, ...]]:
    """Rows of the first table under a heading, by their first cell."""
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = section[section.index("\n|") + 1 :].split("\n\n", 1)[0].splitlines()
    rows = [tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")) for line in lines]
    return {row[0]: row[1:] for row in rows[2:]}


def test_there_are_pages_to_check() -> None:
    assert {"README.md", "docs/operations.md", "docs/dependencies.md"} <= {ids(p) for p in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_paths_in_backticks_exist(page: Path) -> None:
    named = {s.rstrip("/") for s in code(page.read_text()) if re.fullmatch(r"[\w.-]+(/[\w.*-]+)*/?", s)}
    paths = {s for s in named if s.startswith(tuple(f"{d}/" for d in TOP_LEVEL)) and not STORE_WORDS.match(s)}
    assert [s for s in sorted(paths - MADE_LATER) if not any(ROOT.glob(s))] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_to_other_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def headings(page: Path) -> set[str]:
    """The names that links to headings of a page have."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_to_headings_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", page.read_text())
    targets = [((page.parent / file) if file else page, heading) for file, heading in links]
    assert [heading for target, heading in targets if heading not in headings(target)] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_and_their_options_exist(page: Path) -> None:
    wrong = []
    for line in code(page.read_text()):
        found = re.match(r"(?:\$ )?(?:\.venv/bin/)?quiver ([\w-]+)(.*)", line)
        if found is None or found[1] == "COMMAND":
            continue
        options = set(re.findall(r"(?<!\S)--[\w-]+", found[2])) - {"--help"}
        if found[1] not in COMMANDS or not options <= COMMANDS[found[1]]:
            wrong.append(line)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {m[1] for s in code(page.read_text()) if (m := re.match(r"(?:\$ )?make ([a-z]+)", s))}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_settings_named_exist(page: Path) -> None:
    known = {s.variable for s in SETTINGS} | {"QUIVER_ENDPOINT", "QUIVER_CRASH_AT"}
    assert set(re.findall(r"\bQUIVER_[A-Z_]+\b", page.read_text())) <= known


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_names_in_backticks_exist(page: Path) -> None:
    import quiver

    named = {m[1] for s in code(page.read_text()) if (m := re.match(r"quiver\.([a-z_]+)(?:\(.*\))?$", s))}
    assert [name for name in sorted(named) if not hasattr(quiver, name)] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_no_download_address_is_named(page: Path) -> None:
    addresses = re.findall(r"https?://[^\s`\"')]+", page.read_text())
    assert [a for a in addresses if not a.startswith(("http://127.0.0.1", "http://localhost"))] == []


def test_every_setting_is_documented_with_its_default_and_its_meaning() -> None:
    documented = table(OPERATIONS_PAGE.read_text(), "Settings")
    assert list(documented) == [s.variable for s in SETTINGS]
    for setting in SETTINGS:
        default, meaning = documented[setting.variable]
        assert default == ("none" if setting.default is None else str(setting.default)), setting.variable
        assert meaning.startswith(setting.help), setting.variable


def test_every_limit_is_documented_with_the_number_of_aws() -> None:
    documented = table(OPERATIONS_PAGE.read_text(), "Throttling")
    numbers = {field.name: getattr(AWS_RATES, field.name) or "none" for field in fields(Rates)}
    assert {name: row[0] for name, row in documented.items()} == {name: str(n) for name, n in numbers.items()}


def test_every_command_is_documented() -> None:
    documented = table(OPERATIONS_PAGE.read_text(), "Commands")
    assert {re.sub(r"^quiver ([\w-]+).*", r"\1", name) for name in documented} == set(COMMANDS)


def test_every_operation_is_documented() -> None:
    assert list(table(OPERATIONS_PAGE.read_text(), "Operations served")) == list(OPERATIONS)


def test_every_index_structure_is_documented_with_the_default() -> None:
    from quiver.model.structure import CODECS, DEFAULT_CODEC, DEFAULT_PARTITIONER, DEFAULT_RECALL, PARTITIONERS

    text = OPERATIONS_PAGE.read_text().split("## Choosing the index structure\n")[1].split("\n## ")[0]
    values = [row.split("|")[2].strip() for row in text.splitlines() if row.startswith("|")][2:]
    assert values == [*(f"`{name}`" for name in PARTITIONERS + CODECS), "`0.5` to `1`"]
    assert f"\nDefault: `{DEFAULT_PARTITIONER}` with `{DEFAULT_CODEC}`, recall {DEFAULT_RECALL}.\n" in text


def test_the_library_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    (example,) = [block for block in blocks if "quiver.connect" in block]
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out == "['king'] [0.00375941]\n"


@pytest.mark.slow
def test_the_boto3_examples_of_the_readme_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    example = "\n".join(block for block in blocks if "s3vectors." in block)
    with RunningServer(str(tmp_path / "data"), **KEYS) as server:
        example = example.replace("http://127.0.0.1:8080", server.url)
        for name, value in zip(("access_key_id", "secret_access_key"), KEYS.values(), strict=True):
            example = example.replace(f'aws_{name}="..."', f'aws_{name}="{value}"')
        exec(compile(example, "README.md", "exec"), {})
    words, hybrid = capsys.readouterr().out.splitlines()
    assert words == "[('king', 0.0038), ('queen', 0.013)]"
    assert hybrid == "[('n2', 0.0328), ('n1', 0.0323)]"


def test_every_exit_code_is_documented() -> None:
    from quiver.cli.output import Exit

    text = OPERATIONS_PAGE.read_text()
    assert [f"| {int(code)} |" in text for code in Exit] == [True] * len(Exit)


def test_every_metric_of_the_server_is_documented() -> None:
    from quiver.server.metrics import Metrics

    found = Metrics().registry.collect()
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in found}
    assert names
    assert names <= set(re.findall(r"`(quiver_\w+)`", OPERATIONS_PAGE.read_text()))


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    lines = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *(line for extra in extras for line in extra),
    ]
    names = {re.match(r"[\w-]+", line)[0] for line in lines}  # type: ignore[index]
    text = (ROOT / "docs" / "dependencies.md").read_text()
    assert {name for name in names if f"| {name} |" not in text} == set()


def test_locked_requirements_carry_hashes_and_no_addresses() -> None:
    for file in ROOT.glob("requirements/*.txt"):
        text = file.read_text()
        assert "://" not in text
        pins = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
        assert len(pins) > 20
        assert len(re.findall(r"^[\w.-]+==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins)


def test_locked_requirements_hold_what_the_project_asks_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for file, lines in {
        "runtime.txt": project["dependencies"] + extras["aws"],
        "test.txt": project["dependencies"] + extras["test"],
        "peers.txt": project["dependencies"] + extras["bench"],
    }.items():
        pinned = dict(
            re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements" / file).read_text(), re.MULTILINE)
        )
        missing = {re.match(r"[\w-]+", line)[0] for line in lines} - pinned.keys()  # type: ignore[index]
        assert missing == set(), file


def test_the_example_of_searching_texts_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = OPERATIONS_PAGE.read_text().split("## Searching texts\n", 1)[1].split("\n## ", 1)[0]
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    exec(compile(example, "operations.md", "exec"), {})
    assert capsys.readouterr().out == "['n2'] ['n2', 'n1']\n"


def bulk_example(name: str) -> str:
    """The Python example of the page on bulk loading that mentions `name`."""
    text = OPERATIONS_PAGE.read_text().split("## Bulk loading and export\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (example,) = [block for block in blocks if name in block]
    return example


def test_the_bulk_example_of_the_library_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(bulk_example("quiver.connect"), "operations.md", "exec"), {})
    assert capsys.readouterr().out == "50000\n50000\n50000\n"


@pytest.mark.slow
def test_the_bulk_example_over_http_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(str(tmp_path / "data"), **KEYS) as server:
        for name, value in KEYS.items():
            monkeypatch.setenv(name.replace("QUIVER", "AWS"), value)
        client = server.client()
        client.create_vector_bucket(vectorBucketName="demo")
        client.create_index(
            vectorBucketName="demo", indexName="words", dataType="float32", dimension=3, distanceMetric="cosine"
        )
        example = bulk_example("LoadVectors").replace("http://127.0.0.1:8080", server.url)
        exec(compile(example, "operations.md", "exec"), {})
    assert re.fullmatch(r"\{'rows': 1000, 'commit': \d+\}\n", capsys.readouterr().out)


def extension_example(name: str) -> str:
    """The Python example of the page on extensions that mentions `name`."""
    blocks = re.findall(r"^```python\n(.*?)^```", EXTENSIONS_PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (example,) = [block for block in blocks if name in block]
    return example


def test_every_extension_is_documented_with_its_members() -> None:
    text = EXTENSIONS_PAGE.read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")][2 : 2 + len(EXTENSIONS)]
    documented = {name.strip(): set(re.findall(r"`(\w+)`", members)) for name, members, *_ in rows}
    assert list(documented) == list(EXTENSIONS)
    for name, extension in EXTENSIONS.items():
        own = extension.input.members.keys() - {"vectorBucketName", "indexName", "indexArn"}
        assert own <= documented[name], name


def test_the_extension_example_of_the_library_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(extension_example("quiver.connect"), "extensions.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "['a', 'b']",
        "['b']",
        "['d']",
        "3 2",
        "['c']",
        "[[1.0, 0.0]]",
        "[['a'], ['b']]",
        "1",
        "1 2",
    ]


@pytest.mark.slow
def test_the_extension_example_over_http_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(str(tmp_path / "data"), **KEYS) as server:
        for name, value in KEYS.items():
            monkeypatch.setenv(name.replace("QUIVER", "AWS"), value)
        client = server.client()
        client.create_vector_bucket(vectorBucketName="demo")
        client.create_index(
            vectorBucketName="demo", indexName="words", dataType="float32", dimension=3, distanceMetric="cosine"
        )
        example = extension_example("quiver_call").replace("http://127.0.0.1:8080", server.url)
        exec(compile(example, "extensions.md", "exec"), {})
    (shown,) = re.findall(r"^```json\n(.*?)^```", EXTENSIONS_PAGE.read_text(), re.DOTALL | re.MULTILINE)
    answers = [json.loads(line) for line in shown.splitlines()[1::2]]
    assert capsys.readouterr().out == "".join(f"{answer}\n" for answer in answers)
