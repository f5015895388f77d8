"""In whatever order Envoy reads the files that were replaced, no route that it has loaded names what it has not."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.router import files as files_module
from podium.router.endpoints import Endpoint
from podium.router.files import Files, NotLoaded
from podium.router.places import READY
from podium.router.routing import Routing, Share
from podium.router.xds import CLUSTERS, LISTENERS, Config, render

LINGER = 600.0


class Envoy:
    """Reads one changed file each time it is asked, as `choose` says: a stand-in for its order of events alone."""

    def __init__(self, folder: Path, choose: st.DataObject | None) -> None:
        self._folder = folder
        self._choose = choose
        self.files: dict[str, dict[str, object]] = {}
        self.now = 0.0

    def loaded(self) -> Mapping[str, str]:
        self.now += 0.1
        changed = sorted(
            file.name
            for file in self._folder.glob("[a-z]*.json")
            if self.files.get(file.name) != json.loads(file.read_text())
        )
        if changed:
            name = self._choose.draw(st.sampled_from(changed)) if self._choose else changed[0]
            self.files[name] = json.loads((self._folder / name).read_text())
            self.check()
        for each in {file.removesuffix(".json") for file in self.files if file.startswith("routes.")}:
            if each.removeprefix("routes.") not in self.names(LISTENERS):
                del self.files[f"{each}.json"]  # it knows the routes of listeners that it has
        return {file.removesuffix(".json"): str(found["version_info"]) for file, found in self.files.items()}

    def names(self, file: str) -> set[str]:
        resources = self.files.get(file, {}).get("resources", [])
        assert isinstance(resources, list)
        return {each["name"] for each in resources}

    def check(self) -> None:
        """What a request could meet now."""
        clusters = self.names(CLUSTERS)
        for model in self.names(LISTENERS) - {READY}:
            if (table := self.files.get(f"routes.{model}.json")) is None:
                continue  # it opens when its routes have come
            named = json.loads(json.dumps(table))["resources"][0]["virtual_hosts"][0]["routes"][-1]["route"]
            named = [each["name"] for each in named["weighted_clusters"]["clusters"]]
            assert set(named) <= clusters, f"the routes of {model} name {named}, of {clusters}"
            assert all(f"endpoints.{name}.json" in self.files for name in named), named


def configs() -> st.SearchStrategy[list[list[Routing]]]:
    """What is wanted, one after the other: ModelDeployments come, leave and go, and so do their revisions."""
    revisions = st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True)

    def routing(model: str, found: list[str], leaving: bool | None) -> Routing:
        weights = [10_000] if len(found) == 1 else [1_000, 9_000]
        split = tuple(Share(f"{model}-{name}", weight) for name, weight in zip(found, weights, strict=True))
        return Routing(model, 20_000 + len(model), split, leaving=leaving)

    one = st.dictionaries(
        st.sampled_from(["m", "mm"]), st.tuples(revisions, st.sampled_from([None, None, True])), max_size=2
    )
    return st.lists(
        one.map(lambda each: [routing(model, *said) for model, said in sorted(each.items())]), min_size=1, max_size=4
    )


def config(wanted: list[Routing]) -> Config:
    pods = {(share.revision, "http"): (Endpoint("10.0.0.1", 80),) for each in wanted for share in each.split}
    return render(wanted, pods, address="0.0.0.0", ready=True)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "POLL_SECONDS", 0)


@settings(deadline=None)
@given(st.data())
def test_whatever_is_wanted_next_no_route_names_what_is_not_there(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        envoy = Envoy(folder, data)
        files = Files(folder, envoy.loaded, linger=LINGER, clock=lambda: envoy.now)
        for wanted in data.draw(configs()):
            files.put(config(wanted))
            assert envoy.names(LISTENERS) == {READY, *(each.model for each in wanted if not each.leaving)}


def test_a_cluster_goes_when_nothing_can_be_on_its_way_through_it(tmp_path: Path) -> None:
    envoy = Envoy(tmp_path, None)
    files = Files(tmp_path, envoy.loaded, linger=LINGER, clock=lambda: envoy.now)
    old, new = (config([Routing("m", 20_000, (Share(name, 10_000),))]) for name in ("old", "new"))
    files.put(old)
    files.put(new)
    assert envoy.names(CLUSTERS) == {"old.http", "new.http"}
    assert files.next_look() is not None

    envoy.now += LINGER
    files.put(new)
    assert envoy.names(CLUSTERS) == {"new.http"}
    assert not (tmp_path / "endpoints.old.http.json").exists()
    assert files.next_look() is None


def test_what_envoy_does_not_load_is_named(tmp_path: Path) -> None:
    now = iter(range(1_000))
    files = Files(tmp_path, dict, linger=LINGER, clock=lambda: float(next(now)))
    with pytest.raises(NotLoaded, match="Envoy has not loaded clusters within 5 s"):
        files.put(config([Routing("m", 20_000, (Share("a", 10_000),))]))


def test_other_weights_are_put_down_before_envoy_is_asked_anything(tmp_path: Path) -> None:
    envoy = Envoy(tmp_path, None)
    there: list[str] = []

    def loaded() -> Mapping[str, str]:
        there.append((tmp_path / "routes.m.json").read_text() if (tmp_path / "routes.m.json").exists() else "")
        return envoy.loaded()

    files = Files(tmp_path, loaded, linger=LINGER, clock=lambda: envoy.now)
    for weights in ((10_000, 0), (5_000, 5_000), (10_000, 0)):
        split = tuple(Share(name, weight) for name, weight in zip(("one", "two"), weights, strict=True))
        there.clear()
        files.put(config([Routing("m", 20_000, split)]))
    assert all(text == there[-1] for text in there), "a rollback waits for no answer of Envoy's"
