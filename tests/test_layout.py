"""The repository agrees with itself: dependencies, notebooks, targets."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOR_TESTS = ["cluster", "cluster-tests", "hub"]  # extras that only `make test` installs
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def requirement_lines():
    extras = PROJECT["optional-dependencies"].values()
    return [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]


def pins():
    lines = (ROOT / "constraints" / "base.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_dependency_is_pinned_within_its_bounds_and_nothing_else():
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in requirement_lines()]
    assert sorted(name_of(r.name) for r in requirements) == sorted(pins())
    for requirement in requirements:
        pin = pins()[name_of(requirement.name)]
        assert requirement.specifier.contains(pin), f"{requirement} does not allow {pin}"


def test_the_packages_people_were_promised_are_there():
    promised = "jupyterlab ipywidgets papermill torch librosa opencv-python face-alignment"
    names = {name_of(line) for line in requirement_lines()}
    assert {*promised.split(), "matplotlib", "mlflow"} <= names
    assert "opencv-python-headless" not in names
    assert "mediapipe" not in names


def test_torch_is_named_exactly_and_for_no_platform():
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins()["torch"])


def test_environment_file_names_nothing_of_its_own():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    (pip,) = (item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert environment["name"] == PROJECT["name"]
    assert {re.split("[=<>]", item)[0] for item in conda} == {"python", "make", "pip"}
    python = next(item for item in conda if item.startswith("python")).split("=")[1]
    assert f">={python}" in PROJECT["requires-python"]
    assert pip[0] == "-c constraints/base.txt"
    extras = set(re.fullmatch(r"-e \.\[(.*)\]", pip[1])[1].split(","))
    assert extras == set(PROJECT["optional-dependencies"]) - set(FOR_TESTS)
    assert len(pip) == 2


def test_make_installs_the_same_and_ci_calls_make():
    makefile = (ROOT / "Makefile").read_text()
    extras = ",".join(e for e in PROJECT["optional-dependencies"] if e not in set(FOR_TESTS))
    assert f"-c constraints/base.txt -e '.[{extras}]'" in makefile
    assert f"-c constraints/base.txt -e '.[{','.join(FOR_TESTS)}]'" in makefile
    ci = ROOT / ".ci" / "run"
    assert ci.stat().st_mode & 0o111
    commands = [line for line in ci.read_text().splitlines() if line and line[0] != "#"]
    assert commands[-1] == "exec make test"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_thin_clean_and_has_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].source.startswith("# ")
    assert len(code) <= 15
    for cell in code:
        assert len(cell.source.splitlines()) <= 15, cell.source
        assert not cell.outputs and cell.execution_count is None
        assert not re.search(r"^\s*(class |%?!?pip |/home|/work)", cell.source, re.M)
    assert notebook.metadata.kernelspec.name == "python3"
    assert any("parameters" in cell.metadata.get("tags", ()) for cell in code)


def test_notice_names_what_is_fetched():
    notice = (ROOT / "NOTICE").read_text()
    for word in ("MediaPipe", "silero-vad", "eSpeak NG", "face-alignment", "Noto Sans CJK"):
        assert word in notice
    for line in requirement_lines():
        assert re.search(rf"\b{name_of(line)}\b", notice), f"NOTICE does not name {line}"
    licence = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in licence and len(licence) > 11_000


def test_modules_stay_one_idea_long():
    for path in (ROOT / "heygem").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 600, path


#: Import names that differ from the names of their packages.
PACKAGE_OF = {
    "PIL": "pillow",
    "ai_edge_litert": "ai-edge-litert",
    "av": "av",
    "c2pa": "c2pa-python",
    "cv2": "opencv-python",
    "cyclonedx": "cyclonedx-python-lib",
    "espeakng_loader": "espeakng-loader",
    "face_alignment": "face-alignment",
    "fpdf": "fpdf2",
    "silero_vad": "silero-vad",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
#: Come with a named package that is made of them.
PART_OF = {
    "IPython": "ipykernel",
    "packageurl": "cyclonedx-python-lib",
    "jupyter_client": "ipykernel",
    "jupyter_core": "ipykernel",
    "jupyter_server": "jupyterlab",
    "tornado": "jupyterlab",
    "traitlets": "ipykernel",
}


@pytest.mark.slow
def test_everything_imported_is_a_named_dependency():
    imported = {}
    for path in (ROOT / "heygem").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            imported |= {name.partition(".")[0]: path for name in names}
    declared = {name_of(line) for line in requirement_lines()}
    for name, path in imported.items():
        if name in sys.stdlib_module_names or name == "heygem":
            continue
        package = PACKAGE_OF.get(name) or PART_OF.get(name) or name
        assert package.replace("_", "-") in declared, f"{path.name} imports {name}"


def test_the_generate_notebook_takes_every_section_of_a_recipe():
    # Papermill complains about a parameter that the notebook does not name.
    from heygem.config.params import Params

    notebook = nbformat.read(ROOT / "notebooks" / "10_generate.ipynb", as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    named = {target.id for node in ast.parse(cell.source).body for target in node.targets}
    assert named == set(Params.model_fields)
