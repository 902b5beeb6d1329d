"""The queue of jobs: order, limits, progress, cancelling, forgetting; and one job in a real process."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from analysis.reuse.connections import connection_weights
from analysis.reuse.measuring import measure_reuse
from analysis.reuse.untrained import build_untrained
from app.dashboard.jobs import estimate, session
from app.dashboard.jobs import queue as queues
from app.dashboard.jobs.queue import MAX_ASKED, MAX_KEPT, MAX_WAITING, Process, Queue, QueueError
from app.dashboard.jobs.session import Ticket
from app.dashboard.jobs.task import Job, Task
from app.dashboard.jobs.work import WORK
from app.dashboard.jobs.worker import PAUSE_OF_RESULTS, Message, Reporter, run
from app.dashboard.keys import ImagesKey, NetworkKey, file_key
from app.dashboard.server.options import server_options
from app.dashboard.widgets.long_work import progress_words
from densenet_core import DenseNetSpec, load_zoo
from densenet_core.checkpoints.zoo import zoo_path
from densenet_core.data.datasets import load_test_images

NAME = "densenet-40-12-digits"
SMALL = DenseNetSpec((2, 2), 4, 8, in_channels=1)
KEY = NetworkKey("file", "net")
UPLOAD = NetworkKey("upload", "abc")


class Silent:
    """A job that says what the test makes it say."""

    launched: ClassVar[list[Silent]] = []

    def __init__(self, task: Task, network: Any, hear: Callable[[Message | None], None]) -> None:
        self.task, self.network, self.hear, self.is_ended = task, network, hear, False
        Silent.launched.append(self)

    def end(self) -> None:
        self.is_ended = True


@pytest.fixture
def queue() -> Queue:
    Silent.launched = []
    return Queue(1, Silent)


def task(number: int, key: NetworkKey = KEY) -> Task:
    return Task("measured", key, (number,))


def test_jobs_run_in_turn_and_as_many_at_a_time_as_the_limit_says(queue: Queue) -> None:
    jobs = [queue.submit(task(number), "network", "title", str(number)) for number in range(3)]
    assert [job.state for job in jobs] == ["running", "waiting", "waiting"]
    assert [queue.before(job) for job in jobs] == [0, 0, 1]
    Silent.launched[0].hear(("result", pickle.dumps(7)))
    assert [job.state for job in jobs] == ["finished", "running", "waiting"]
    assert (jobs[0].result, len(Silent.launched)) == (7, 2)
    Silent.launched = []
    two_at_a_time = Queue(2, Silent)
    for number in range(3):
        two_at_a_time.submit(task(number), None, "", str(number))
    assert len(Silent.launched) == 2


def test_equal_tasks_are_one_job(queue: Queue) -> None:
    first = queue.submit(task(0), None, "", "one session")
    assert queue.submit(task(0), None, "", "another") is first
    assert queue.find(task(0)) is first
    assert queue.find(task(1)) is None


def test_a_job_that_failed_or_was_cancelled_can_be_asked_for_again(queue: Queue) -> None:
    first = queue.submit(task(0), None, "", "")
    Silent.launched[0].hear(("error", "the images do not fit"))
    assert (first.state, first.error) == ("failed", "the images do not fit")
    second = queue.submit(task(0), None, "", "")
    assert (second.state, second.error) == ("running", "")


def test_a_process_that_ends_without_a_word_has_failed(queue: Queue) -> None:
    job = queue.submit(task(0), None, "", "")
    Silent.launched[0].hear(None)
    assert (job.state, job.error) == ("failed", "")


def test_cancelling_ends_the_process_and_starts_the_next(queue: Queue) -> None:
    first, second = (queue.submit(task(number), None, "", "") for number in range(2))
    queue.cancel(task(0))
    assert Silent.launched[0].is_ended
    assert (first.state, second.state) == ("cancelled", "running")
    Silent.launched[0].hear(("result", pickle.dumps(1)))  # came too late
    assert (first.state, first.result) == ("cancelled", None)
    third = queue.submit(task(2), None, "", "")
    queue.cancel(task(2))
    assert third.state == "cancelled"
    assert len(Silent.launched) == 2


def test_a_session_and_the_server_have_limits(queue: Queue) -> None:
    for number in range(MAX_ASKED):
        queue.submit(task(number), None, "", "greedy")
    with pytest.raises(QueueError, match=f"this session has {MAX_ASKED} jobs"):
        queue.submit(task(MAX_ASKED), None, "", "greedy")
    for number in range(MAX_ASKED, MAX_WAITING):
        queue.submit(task(number), None, "", str(number))
    with pytest.raises(QueueError, match=f"{MAX_WAITING} jobs are waiting on this server"):
        queue.submit(task(MAX_WAITING), None, "", "late")


def test_the_last_results_are_kept(queue: Queue) -> None:
    for number in range(MAX_KEPT + 3):
        queue.submit(task(number), None, "", "")
        Silent.launched[-1].hear(("result", pickle.dumps(number)))
    assert [job.result for job in queue.jobs()] == list(range(3, MAX_KEPT + 3))
    assert not queue._networks
    assert not queue._workers


def test_large_results_leave_no_room_for_old_ones(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.dashboard.jobs.queue.MAX_KEPT_BYTES", 10_000)
    kept = []
    for number, size in enumerate((4_000, 4_000, 4_000, 20_000, 10)):
        queue.submit(task(number), None, "", "")
        Silent.launched[-1].hear(("result", pickle.dumps(b"x" * size)))
        kept.append([len(job.result) for job in queue.jobs()])
    assert kept == [[4_000], [4_000, 4_000], [4_000, 4_000], [20_000], [10]]


def test_the_time_of_work_is_expected_in_proportion_to_its_size(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    now, other = [0.0], KEY._replace(name="other")
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert queue.expected_seconds(task(0), 100.0) is None
    queue.submit(task(0), None, "", "", 100.0)
    for now[0], done in ((5.0, 0), (15.0, 5), (25.0, 10)):  # it begins after 5 seconds
        Silent.launched[-1].hear(("progress", (done, 10)))
    Silent.launched[-1].hear(("result", pickle.dumps(0)))
    queue.submit(task(1), None, "", "", 100.0)
    Silent.launched[-1].hear(("progress", (10, 10)))  # an earlier call had done it
    Silent.launched[-1].hear(("result", pickle.dumps(0)))
    assert queue.expected_seconds(task(2), 50.0) == pytest.approx(10.0)
    assert queue.expected_seconds(task(2, other), 200.0) == pytest.approx(40.0)
    assert queue.expected_seconds(task(2)) == pytest.approx(20.0)
    assert queue.expected_seconds(task(2, other)) is None
    assert queue.expected_seconds(Task("claims", KEY, ()), 100.0) is None


def test_the_job_of_an_upload_goes_with_its_session(queue: Queue) -> None:
    queue.submit(task(0, UPLOAD), None, "", "session")
    tickets = {task(0, UPLOAD): Ticket(queue, task(0, UPLOAD))}
    gc.collect()
    assert queue.find(task(0, UPLOAD)) is not None
    tickets.clear()
    gc.collect()
    assert queue.find(task(0, UPLOAD)) is None
    assert Silent.launched[0].is_ended


def test_a_session_sees_and_ends_no_job_on_another_sessions_upload(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "the_queue", lambda: queue)
    monkeypatch.setattr(session, "needs_login", lambda _: False)
    monkeypatch.setattr(session, "get_instance", lambda: SimpleNamespace(is_active_session=lambda _: True))
    private = queue.submit(task(0, UPLOAD), None, "", "owner")
    shared = queue.submit(task(1), None, "", "owner")
    for visitor, seen in (("owner", [shared, private]), ("guest", [shared])):
        monkeypatch.setattr(session, "session_id", lambda visitor=visitor: visitor)
        assert session.own_jobs() == seen
        assert [session.may_cancel(job) for job in (shared, private)] == [visitor == "owner"] * 2


def test_the_time_left_is_that_of_the_speed_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    job = Job(task(0), "", "", state="running", started=100.0)
    assert job.seconds_left is None
    clock[0] = 110.0
    job.report(50, 200)
    assert job.seconds_left is None  # they may be an earlier job's
    clock[0] = 120.0
    job.report(100, 200)
    assert job.seconds_left == pytest.approx(20)  # 5 images a second since the first report
    assert job.share == pytest.approx(0.5)


def test_reports_are_passed_on_a_few_times_a_second_and_the_last_always() -> None:
    said: list[Message] = []
    report = Reporter(said.append)
    for done in range(1001):
        report(done, 1000)
    assert len(said) < 100
    assert said[-1] == ("progress", (1000, 1000))


def test_results_so_far_are_made_and_passed_on_every_few_seconds(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    job = queue.submit(task(0), None, "", "")
    report, made = Reporter(Silent.launched[0].hear), []
    for second in range(10):
        report.show(lambda second=second: made.append(second) or f"after {second} s")  # type: ignore[func-returns-value, misc]
        clock[0] += 1.0
    assert made == list(range(int(PAUSE_OF_RESULTS), 10, int(PAUSE_OF_RESULTS)))
    assert job.so_far == f"after {made[-1]} s"
    Silent.launched[0].hear(("result", pickle.dumps("all")))
    assert job.result == "all" and job.so_far is None


def test_what_goes_wrong_is_a_sentence_or_a_traceback() -> None:
    said: list[Message] = []
    run("measured", load_zoo(NAME), (("no such measure",), ImagesKey("digits", "data", None, 10), None), said.append)
    run("no such work", None, (), said.append)
    assert [kind for kind, _ in said] == ["error", "crash"]
    assert "no such measure" in said[0][1]
    assert "Traceback" in said[1][1]


def test_the_command_line_sets_the_limit() -> None:
    assert server_options(["--root", "x", "--jobs", "3"]).places == 3
    assert server_options([]).places >= 1


@pytest.mark.slow
def test_a_job_in_its_own_process_returns_the_functions_result(tmp_path: Any) -> None:
    queue, images, network = Queue(1), ImagesKey("digits", "data", None, 40), build_untrained(SMALL)
    job = queue.submit(Task("measured", KEY, (("ablation",), images, tmp_path)), network, "", "")
    while not job.is_over:
        time.sleep(0.02)
    assert (job.state, job.error) == ("finished", "")
    assert (job.done, job.total) == (40, 40)
    expected = measure_reuse(network, ("ablation",), load_test_images("digits"), 40)
    assert job.result["ablation"].tolist() == pytest.approx(expected["ablation"].tolist(), abs=1e-6)


@pytest.mark.slow
def test_a_process_that_is_done_ends_by_itself() -> None:
    command = [sys.executable, "-P", "-m", "app.dashboard.jobs.worker"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as process:
        pickle.dump(("claims", None, ()), process.stdin)  # without its options: an error at once
        process.stdin.flush()  # and it stays open
        said, complaints = process.stdout.read(), process.stderr.read()
        assert (process.wait(60), complaints) == (0, b"")
    assert pickle.loads(said)[0] == "crash"


@pytest.mark.slow
def test_a_cancelled_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    forever = "import pickle, sys, time; pickle.load(sys.stdin.buffer); time.sleep(60)"
    monkeypatch.setattr(queues, "WORKER", (sys.executable, "-c", forever))
    heard: list[Message | None] = []
    process = Process(task(0), pickle.dumps(1), heard.append)
    process.end()
    assert process._process.wait(10) != 0


def test_the_first_time_of_a_kind_is_estimated_from_a_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    network = file_key(zoo_path("densenet-40-12-digits"))
    images = ImagesKey("digits", "data", None, 200)
    monkeypatch.setattr(estimate, "seconds_per_image", lambda key, size: {(8, 8): 0.01}[size])
    assert estimate.rough_seconds(Task("lens", network, (images,))) == 7  # 3 s, and twice 200 images
    connections = len(connection_weights(load_zoo("densenet-40-12-digits")))
    ablation = estimate.rough_seconds(Task("measured", network, (("ablation",), images, None)))
    assert ablation == pytest.approx(0.3 * connections * 200 * 0.01, rel=0.25)
    assert estimate.rough_seconds(Task("latency", None, (("a",), (), 32, 3, False))) is None
    assert set(WORK) - {"latency"} <= set(estimate.PASSES)


def test_a_forward_pass_is_timed_per_image() -> None:
    small, large = (
        file_key(zoo_path(name)) for name in ("densenet-bc-40-12-cifar10-jpeg", "densenet-40-12-cifar10-jpeg")
    )
    assert 0 < estimate.seconds_per_image(small, (32, 32)) < estimate.seconds_per_image(large, (32, 32))


def test_work_that_has_done_no_step_says_how_long_it_may_take(queue: Queue) -> None:
    """As probes, whose first minute is spent on reading images: what was expected, while it has not taken longer."""
    job = queue.submit(task(0), None, "", "", expected=60.0)
    job.started = time.monotonic() - 20
    assert progress_words(job) == "running for 20 s, about 60 s expected in all"
    job.started = time.monotonic() - 65
    assert progress_words(job) == "running for 65 s"
