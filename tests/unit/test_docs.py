"""Documents that promise to be complete are."""

import json
import re
import subprocess
from pathlib import Path

from podium.api.reasons import Reason
from podium.rollout.rule import PROMOTES, Kind
from podium.settings import Settings
from tests.cluster.binaries import KUBERNETES, OTHER_APISERVERS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BESIDE = (
    "docs", "tests/unit/planner", "tests/integration/rollouts", "operator/src/podium/reconcile",
    "operator/src/podium/rollout", "operator/src/podium/rollout/strategies",
)  # fmt: skip
"""Where a file is that the page names without its folder, beside another one."""


def test_every_condition_reason_is_explained_once_and_no_other_is() -> None:
    headings = re.findall(r"^### (\w+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)

    assert sorted(headings) == sorted(reason.value for reason in Reason)


def test_the_api_servers_that_are_tried_are_those_that_the_decision_names() -> None:
    page = (DOCS / "decisions" / "api-server-versions.md").read_text()
    (tried,) = re.findall(r"^\*\*Tried: kube-apiserver (.*)\*\*", page, re.MULTILINE)

    assert set(re.findall(r"\d+\.\d+\.\d+", tried)) == {KUBERNETES, *OTHER_APISERVERS}


def _anchors(page: str) -> set[str]:
    """Of its headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_link_between_pages_leads_to_a_file_and_to_a_heading_of_it() -> None:
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "serving-image" / "README.md"]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link
    ]
    broken = []
    for page, link in links:
        file, _, anchor = link.partition("#")
        to = page.parent / file if file else page
        if not to.exists() or (anchor and anchor not in _anchors(to.read_text())):
            broken.append(f"{page.relative_to(ROOT)}: {link}")

    assert len(links) > 50
    assert broken == []


def test_the_files_that_the_page_for_developers_names_are_there() -> None:
    """Whoever moves a file finds this page by it."""
    text = (DOCS / "development.md").read_text()
    named = set(re.findall(r"[`\s(](\w[\w/.-]*/?\w+\.(?:py|yaml|md|tpl))\b", text)) - {
        "NAME.yaml",
        "charts/runtimes/NAME.yaml",
    }
    roots = [ROOT, ROOT / "operator/src/podium", *(ROOT / folder for folder in BESIDE)]

    assert len(named) > 20
    assert [name for name in sorted(named) if not any((root / name).exists() for root in roots)] == []


def test_every_rule_of_a_decision_is_explained_with_whether_it_promotes() -> None:
    (section,) = re.findall(r"^## Rules\n(.*?)(?=^## |\Z)", (DOCS / "troubleshooting.md").read_text(), re.M | re.S)
    outcomes = dict(re.findall(r"^\| `([a-z-]+)(?:: [A-Z]+)?` \| ([^|]+) \|", section, re.M))

    assert outcomes.keys() == {kind.value for kind in Kind if kind is not Kind.UNKNOWN}
    assert {rule for rule, outcome in outcomes.items() if "Promoted" in outcome} == {kind.value for kind in PROMOTES}


def test_each_setting_of_the_chart_is_explained_with_its_default() -> None:
    schema = json.loads((ROOT / "charts/podium/values.schema.json").read_text())
    defaults = {key: getattr(Settings(identity="x"), key.replace("-", "_")) for key in _keys(schema, "settings")}
    (section,) = re.findall(r"^## Settings\n(.*?)^## ", (DOCS / "install.md").read_text(), re.M | re.S)

    assert dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", section, re.M)) == {
        key: f"{default:g} s" if isinstance(default, float) else str(default or "none")
        for key, default in defaults.items()
    }


def _keys(schema: dict[str, dict[str, dict[str, dict[str, object]]]], value: str) -> list[str]:
    return [*schema["properties"][value]["properties"]]


def test_make_help_shows_each_target() -> None:
    targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert re.findall(r"^  make (\S+) ", shown.stdout, re.M) == targets
