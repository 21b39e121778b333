"""The earlier version's queue, a folder of JSON files, is read once."""

import json

from heygem.batch.queue import JobQueue
from heygem.batch.queue.earlier_folder import import_earlier, import_folder


def write_job(folder, number, state, **more):
    """A job as the earlier version wrote it."""
    video = f"/v/v{number}.mp4"
    recipe = {"inputs": {"videos": [video], "audio": "/v/a.wav", "output": str(folder / "made")}}
    content = {
        "id": f"id{number}",
        "video": video,
        "audio": "/v/a.wav",
        "params": recipe,
        "order": float(10 - number),
        "text": "",
        "title": "",
        "state": state,
        "output": "",
        "error": "",
        "reason": {},
        "warnings": [],
        "seconds": 0.0,
        "length_s": 3.5,
        "deaths": 0,
        "user": "eve",
        "progress": {},
    }
    (folder / f"id{number}.job").write_text(json.dumps(content | more))


def test_a_folder_is_imported_once_in_its_order_and_left_alone(tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    video = tmp_path / "made.mp4"
    video.write_bytes(b"x")
    write_job(folder, 1, "waiting")
    write_job(folder, 2, "running")
    write_job(folder, 3, "done", output=str(video), seconds=4.0)
    write_job(folder, 4, "done", output="/gone.mp4")
    write_job(folder, 5, "failed", error="no face", reason={"what": "no face", "seen": "x"})
    (folder / "half.job").write_text("{")
    write_job(folder, 7, "waiting", params={"inputs": {"videos": []}})
    before = {path: path.read_bytes() for path in folder.iterdir()}
    queue = JobQueue(tmp_path / "queue.db")
    assert import_folder(queue, folder) == 5 and import_folder(queue, folder) == 0
    jobs = queue.jobs()
    assert [job.state for job in jobs] == ["failed", "pending", "done", "pending", "pending"]
    assert jobs[0].error["seen"] == "x" and jobs[0].message.startswith("no face")
    assert jobs[2].output == str(video) and jobs[2].owner == "eve" and jobs[4].length_s == 3.5
    assert queue.get(jobs[4].id).item().video.name == "v1.mp4"
    assert "5 of 7 jobs" in queue.notices()[0]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_projects_folder_is_found_beside_its_queue(tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_QUEUE", str(tmp_path / "runs" / "queue.db"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "studio" / "line"
    folder.mkdir(parents=True)
    write_job(folder, 1, "waiting")
    assert import_earlier(JobQueue()) == 1
    assert import_earlier(JobQueue(tmp_path / "other.db")) == 0
