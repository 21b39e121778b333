"""Notebooks run with Papermill: validated parameters, saved results, errors."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import papermill
import pytest
import skimage.data
from click.testing import CliRunner
from helpers.home import home_with_models
from papermill.cli import papermill as papermill_command
from papermill.exceptions import PapermillExecutionError

from heygem import media
from heygem.audio import tts
from heygem.batch import notebooks
from heygem.config.params import Params
from heygem.core.errors import HeygemError, InputError, ParameterError
from heygem.media import write_wav

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(book, path)
    return path


WRITE_RECORD = """
from heygem.batch import notebooks
from heygem.core.files import write_json
path = notebooks.record_path()
write_json(path.parent, {'exit_code': 0, 'lips': lips}, name=path.name)
"""


@pytest.mark.slow
def test_parameters_reach_the_notebook_and_the_record_is_returned(workdir):
    params = Params.from_dict({"lips": {"openness_gain": "1.5e0"}})
    done = notebooks.execute(
        notebook(workdir / "n.ipynb", "lips = {}", WRITE_RECORD), params, name="odd {name}: 中"
    )
    assert done.record["lips"]["openness_gain"] == 1.5
    assert done.notebook.is_file() and done.notebook.parent.parent == workdir / "runs"
    assert not list(workdir.glob("kernel-*"))  # sockets do not land in the working folder


@pytest.mark.slow
def test_a_failing_cell_is_a_one_line_error_that_names_the_notebook(workdir):
    with pytest.raises(HeygemError, match=r"ZeroDivisionError.*n\.ipynb") as caught:
        notebooks.execute(notebook(workdir / "n.ipynb", "lips = {}", "1 / 0"), Params())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_errors_of_heygem_keep_their_type(workdir):
    source = "from heygem.config.params import Params\nParams.from_dict({'lisp': 1})"
    with pytest.raises(ParameterError, match="did you mean 'lips'"):
        notebooks.execute(notebook(workdir / "n.ipynb", "lips = {}", source), Params())


@pytest.mark.slow
def test_errors_of_heygem_are_shown_in_the_notebook_without_traceback(workdir):
    source = (
        "from heygem import media\nfrom heygem.batch import notebooks\n"
        "notebooks.enter()\nmedia.probe('none.mp4')"
    )
    with pytest.raises(InputError, match=r"none\.mp4"):
        notebooks.execute(notebook(workdir / "n.ipynb", "lips = {}", source), Params())
    (executed,) = workdir.glob("runs/*/n.ipynb")
    book = nbformat.read(executed, as_version=4)
    (error,) = [o for c in book.cells for o in c.get("outputs", ()) if o.output_type == "error"]
    traceback = "\n".join(error.traceback)
    assert "none.mp4" in traceback and "What to do" in traceback and "line" not in traceback


@pytest.mark.slow
def test_a_parameter_that_a_notebook_does_not_have_stops_it_before_any_work(workdir):
    with pytest.raises(PapermillExecutionError, match="(?s)no parameter 'file'.*'files'") as caught:
        papermill.execute_notebook(
            str(NOTEBOOKS / "30_trace.ipynb"),
            str(workdir / "trace.ipynb"),
            parameters={"file": "X"},
            kernel_name="python3",
            progress_bar=False,
        )
    assert caught.value.ename == "ParameterError"


@pytest.mark.slow
def test_a_kernel_that_dies_is_an_error(workdir):
    source = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(HeygemError):
        notebooks.execute(notebook(workdir / "n.ipynb", "lips = {}", source), Params())


@pytest.mark.slow
def test_a_notebook_without_a_record_is_an_error(workdir):
    with pytest.raises(HeygemError, match="no record"):
        notebooks.execute(notebook(workdir / "n.ipynb", "lips = {}", "pass"), Params())


def test_an_unknown_notebook_lists_the_available_ones():
    with pytest.raises(InputError, match="10_generate"):
        notebooks.find("no_such")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return home_with_models(tmp_path_factory.mktemp("home"))


@pytest.fixture
def heygem(home, workdir):
    def start(*words):
        return subprocess.Popen(
            [sys.executable, "-c", "from heygem.cli.main import main; main()", *map(str, words)],
            env={
                **os.environ,
                "HEYGEM_HOME": str(home),
                "HEYGEM_QUEUE": str(workdir / "queue.db"),
            },
            cwd=workdir,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def recipe(workdir):
    """A recipe with ten frames of one person, and a file that is not a video."""
    utterance = tts.synthesize("Good morning.", "en")
    write_wav(workdir / "voice.wav", utterance.samples, utterance.rate_hz)
    with media.VideoWriter(
        workdir / "anna.mp4", label=media.RecordedFrames(), width=512, height=512, rate=25
    ) as writer:
        for i in range(10):
            writer.write(np.roll(skimage.data.astronaut(), i % 2, axis=1), i / 25)
    (workdir / "broken.mp4").write_text("no video")
    params = Params.from_dict(
        {
            "inputs": {"audio": "voice.wav", "videos": ["anna.mp4", "broken.mp4"], "output": "out"},
            "media": {"preset": "veryfast"},
        }
    )
    (workdir / "mine.yaml").write_text(params.to_yaml())
    return params


@pytest.mark.slow
def test_a_recipe_through_the_generate_notebook_then_through_papermill(
    heygem, home, recipe, workdir, monkeypatch
):
    out, err = heygem("run", "mine.yaml").communicate(timeout=600)
    assert out.splitlines()[0].startswith("out/anna-voice.mp4")
    assert err.splitlines() == [line for line in err.splitlines() if "broken.mp4" in line]
    (executed,) = (workdir / "runs").glob("*-mine/10_generate.ipynb")
    assert f"notebook: {executed}" in out and " ui --folder mlruns" in out
    book = nbformat.read(executed, as_version=4)
    pages = [
        output["data"]["text/html"]
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "display_data"
    ]
    html = "".join(pages)
    (link,) = re.findall(r'href="([^"]+)"', html)
    assert (executed.parent / link).resolve() == workdir / "out" / "anna-voice.mp4"
    # Thumbnail, times, contact sheet, lip curve; one second is too short for measures.
    assert html.count('src="data:image/jpeg') == 4 and "2 items: 1 made, 1 failed" in html
    assert "broken.mp4" in html
    assert executed.stat().st_size < 1_000_000
    assert media.probe(workdir / "out/anna-voice.mp4").tags.get("AIGC")
    _check_mlflow_runs(workdir, recipe)
    # Papermill's own command takes the same recipe, and finds what was made.
    monkeypatch.setenv("HEYGEM_HOME", str(home))
    (workdir / "mine.yaml").write_text(recipe.override({"inputs.videos": ["anna.mp4"]}).to_yaml())
    options = ["out.ipynb", "-f", "mine.yaml", "--no-progress-bar"]
    done = CliRunner().invoke(papermill_command, [str(NOTEBOOKS / "10_generate.ipynb"), *options])
    assert done.exit_code == 0, done.output
    record = json.loads((workdir / "out/batch.json").read_text())
    assert record["exit_code"] == 0
    assert [item["status"] for item in record["items"]] == ["skipped"]


def _check_mlflow_runs(workdir, recipe):
    from mlflow.tracking import MlflowClient

    from heygem.experiments import store

    client = MlflowClient(tracking_uri=store.tracking_uri(workdir / "mlruns"))
    experiment = client.get_experiment_by_name("heygem")
    runs = client.search_runs([experiment.experiment_id], "tags.`heygem.kind` = 'video'")
    status = {run.info.run_name: run.info.status for run in runs}
    assert status == {"anna-voice": "FINISHED", "broken-voice": "FAILED"}
    (anna,) = [run for run in runs if run.info.run_name == "anna-voice"]
    assert anna.data.params["media.preset"] == "veryfast"
    assert anna.data.metrics["timings/render_s"] > 0
    assert client.list_artifacts(anna.info.run_id, "video")[0].path == "video/anna-voice.mp4"


@pytest.mark.slow
def test_a_table_of_pairs_through_the_batch_notebook(heygem, recipe, workdir):
    rows = "video,audio,lips.openness_gain\nanna.mp4,voice.wav,\nanna.mp4,voice.wav,1.4\n"
    (workdir / "pairs.csv").write_text(rows + "broken.mp4,voice.wav,\n")
    changes = {"inputs.videos": [], "inputs.audio": None, "inputs.pairs": "pairs.csv"}
    (workdir / "mine.yaml").write_text(recipe.override(changes).to_yaml())
    out, err = heygem("run", "mine.yaml", "--notebook", "11_batch").communicate(timeout=600)
    assert out.count("out/") == 2 and err.count("failed: broken.mp4") == 1, err
    (executed,) = (workdir / "runs").glob("*-mine/11_batch.ipynb")
    text = executed.read_text()
    assert "3 items: 2 made, 1 failed" in text and "#/experiments/1/runs/" in text
    # A copy lies beside the results, where its links lead to them.
    beside = workdir / "out" / "11_batch.ipynb"
    links = re.findall(r'href=\\"([^"]+mp4)\\"', beside.read_text())
    assert links and all((beside.parent / unquote(link)).is_file() for link in links)
    gallery = (workdir / "out" / "gallery.html").read_text()
    assert 'href="11_batch.ipynb"' in gallery and 'href="batch.json"' in gallery
    assert (workdir / "out" / "items.csv").is_file() and "comparison" not in gallery
    assert executed.stat().st_size < 1_000_000
    # Compare the recorded runs, headless: no widgets.
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / "20_compare.ipynb")]
    command += ["compared.ipynb", "--no-progress-bar", "-p", "log", "True", "-p", "instants", "2"]
    done = subprocess.run(command, cwd=workdir, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = workdir / "runs" / "compare"
    assert media.probe(folder / "compare.mp4").tags.get("AIGC")
    assert (folder / "contact_sheet.jpg").is_file() and (folder / "compare.html").is_file()
    text = (workdir / "compared.ipynb").read_text()
    assert "lips.openness_gain" in text and "MLflow run:" in text and len(text) < 1_000_000
    assert "ComparePage" in text and "widget-view" not in text


@pytest.mark.slow
def test_the_papermill_command_rejects_an_unknown_key(workdir):
    (workdir / "mine.yaml").write_text("inputs: {audio: a.wav, videos: [a.mp4], output: out}\n")
    options = ["out.ipynb", "-f", "mine.yaml", "-p", "lisp", "1", "--no-progress-bar"]
    done = CliRunner().invoke(papermill_command, [str(NOTEBOOKS / "10_generate.ipynb"), *options])
    assert done.exit_code and "did you mean 'lips'" in str(done.exception)
    assert not (workdir / "out").exists()


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "cell",
    [
        # Cannot be interrupted at all.
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); ",
        # Misses the first interrupt, as a kernel does that has not begun its first cell.
        "import signal, time; signal.signal(signal.SIGINT, lambda *_: signal.signal("
        "signal.SIGINT, signal.default_int_handler)); ",
    ],
    ids=["deaf", "missed"],
)
def test_a_kernel_that_misses_the_interrupt_is_stopped(workdir, cell, number):
    path = notebook(workdir / "n.ipynb", "", cell + "open('ready', 'w').close(); time.sleep(600)")
    program = f"""if True:
        from pathlib import Path
        from heygem.batch import notebooks
        from heygem.config.params import Params
        from heygem.core import interrupts
        from heygem.core.errors import Cancelled
        interrupts.GRACE_S, interrupts.LIMIT_S = 0.3, 0.6
        try:
            notebooks.execute(Path({str(path)!r}), Params())
        except Cancelled as error:
            print(error)
    """
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=workdir, stdout=subprocess.PIPE, text=True) as process:
        while not (workdir / "ready").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and out.startswith("stopped on request; notebook: ")


@pytest.mark.slow
def test_ctrl_c_reaches_the_batch_inside(heygem, recipe, workdir):
    utterance = tts.synthesize("A rather long sentence that is said again and again. " * 30, "en")
    write_wav(workdir / "voice.wav", utterance.samples, utterance.rate_hz)
    process = heygem("run", "mine.yaml", "--set", "mlflow.enabled=false")
    deadline = time.monotonic() + 300
    while not list((workdir / "out").glob(".*.part")):  # the video is being written
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "not made: anna.mp4" in err
    assert not (workdir / "out").exists()
