"""The development image and the skaffold profile that syncs files into it."""

import re
from fnmatch import fnmatch

from tests.unit.helm.profiles import ROOT, configuration, releases, with_profiles

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
STAGE = re.compile(r"^FROM (\S+)(?: AS (\S+))?$", re.MULTILINE)


def test_image_without_a_target_is_the_product_and_dev_comes_from_it() -> None:
    stages = STAGE.findall(DOCKERFILE)
    assert stages[-1] == ("product", "")
    assert ("product", "dev") in stages
    text = DOCKERFILE.partition("AS product")[2].partition("FROM ")[0]
    assert "develop" not in text


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))


def test_development_packages_are_pinned_and_do_not_change_the_products() -> None:
    develop, product = pins("develop.txt"), pins("base.txt")
    assert {"debugpy", "py-spy", "pytest", "watchfiles"} <= set(develop)
    both = develop.keys() & product.keys()
    assert both
    assert {name: develop[name] for name in both} == {name: product[name] for name in both}


def test_dev_builds_the_target_and_syncs_what_the_image_runs() -> None:
    (artifact,) = with_profiles(["dev"])["build"]["artifacts"]
    assert artifact["docker"] == {"dockerfile": "Dockerfile", "target": "dev"}
    rules = artifact["sync"]["manual"]
    assert {rule["dest"] for rule in rules} == {"/src"}
    for file in ("backend/app.py", "backend/engine/images/kaniko.py", "kuberay/errors.py"):
        assert (ROOT / file).is_file()
        assert any(fnmatch(file, rule["src"].replace("**/", "*")) for rule in rules)
    copied = set(re.findall(r"^COPY ([a-z_]+) /src/", DOCKERFILE, re.MULTILINE))
    assert {rule["src"].partition("/")[0] for rule in rules} <= copied
    assert "sync" not in configuration()["build"]["artifacts"][0]


def developed(names: list[str]) -> list[bool]:
    found = [it for it in releases(names) if it.chart == "substra-backend"]
    return [it.values.get("development", {}).get("enabled", False) for it in found]


def test_only_dev_runs_in_development() -> None:
    assert developed(["dev"]) == [True, True]
    assert developed([]) == [False, False]
