"""Runs the factory from the first frame to the audit."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live

from pipeline.audit.take_stock import take_stock
from pipeline.kafka.admin import delete_topics, ensure_topics
from pipeline.settings import read_settings
from workers.demo.children import child, ending, operator_page
from workers.demo.line_side import LineSide
from workers.demo.pace import affordable_fps, frames_per_s
from workers.demo.run import Run
from workers.demo.stage import LINES, Options, PlcPorts, Stage, set_stage, write_cameras
from workers.demo.view import live_view, one_line
from workers.demo.watch import Watch
from workers.local.data_folder import DataFolder
from workers.local.errors import ServiceError
from workers.local.inference import Inference
from workers.local.ports import free_ports
from workers.local.process import ChildProcess
from workers.local.services import Services, services

_PREFIX = "demo-"
_NO_PROGRESS_S = 90.0
"""Nothing new for so long means that something hangs."""
_ALARMS_FOLLOW_S = 15.0
"""From the last score to the last stop that is read back."""


@contextmanager
def demo_run(options: Options, home: Path | None, console: Console) -> Iterator[Run]:
    """The finished run, while Kafka and Redis still stand, so that pictures can be drawn. Ends all that it started.

    Raises ServiceError when a part does not start, dies or hangs; the message quotes its log.
    """
    folder = DataFolder.at(home)
    begun = time.monotonic()

    def say(what: str) -> None:
        console.print(f"[dim]{time.monotonic() - begun:5.1f} s[/]  {what}")

    with services(home, say, wait=False) as running:
        folder.create()
        plc = PlcPorts(*free_ports(2))
        prefix = f"{_PREFIX}{secrets.token_hex(4)}."
        settings = read_settings().model_copy(
            update={
                "kafka_bootstrap": running.kafka_bootstrap,
                "redis_address": running.redis_url,
                "andon_topic_prefix": prefix,
            }
        )
        environment = {**running.environment, "ANDON_TOPIC_PREFIX": prefix}
        inference = Inference(folder.runs / "serve", folder.logs / "serve.log", environment)
        # What takes longest starts first. A replica looks for its topics only once its models are loaded.
        say("starting Ray Serve with the two RADAR bundles")
        with ending(inference), child("plc", _plc_arguments(plc), folder, environment) as plc_process:
            inference.launch()
            say("laying out solar cells that the models have never seen")
            stage = set_stage(folder.runs / "demo", options, plc)
            running.wait_until_they_answer(say)
            if running.broker:
                delete_topics(settings, _PREFIX)  # what earlier demos left on our own broker
            ensure_topics(settings, settings.topics)
            page = operator_page(folder, stage.policies_file, environment, say) if options.console else nullcontext()
            alerting_arguments = ["alerting", "run", "--policies", str(stage.policies_file)]
            with closing(LineSide(plc.modbus, list(LINES))) as lines, ExitStack() as parts:
                lines.wait_until_the_plc_answers()  # or alerting would raise an alarm for it
                alerting = parts.enter_context(child("alerting", alerting_arguments, folder, environment))
                page_process = parts.enter_context(page)
                watch = parts.enter_context(Watch(settings))
                inference.wait_until_it_answers()
                say(f"{inference.url}/healthz answers")
                fps = options.fps or _affordable_fps(inference, stage, options, say)
                cameras_file = write_cameras(stage.folder, options, fps)
                seconds_to_ready = time.monotonic() - begun
                say(f"the cameras start: {fps * options.all_cameras:.1f} frames/s of {options.all_cameras}")
                started_at = datetime.now(UTC)
                command = ["camera", "run", "--config", str(cameras_file)]
                if options.seconds is not None:
                    command += ["--seconds", str(options.seconds)]
                with child("cameras", command, folder, environment) as cameras:
                    _follow(watch, options, cameras, [alerting, plc_process], inference, lines, console)
                _let_stops_follow(watch)
                stopped = _read_back(watch, lines)
                if options.stay:
                    say("everything stays up; Ctrl-C ends it and draws the report. For `andon alarms list` elsewhere:")
                    console.print(_export(running, prefix), soft_wrap=True, highlight=False)
                    _until_interrupted()
                say("the processes end")
                threading.Thread(target=_learn_to_draw, daemon=True).start()
                for process in (inference, alerting, page_process):
                    if process:
                        process.ask_to_end()
            plc_process.ask_to_end()  # after alerting, which would take its end for a fault
        say("reading the topics for the audit")
        yield Run(options, stage, fps, watch, take_stock(settings), stopped, settings, started_at, seconds_to_ready)


def _affordable_fps(inference: Inference, stage: Stage, options: Options, say: Callable[[str], None]) -> float:
    judged = frames_per_s(inference.score, stage.cells)
    say(f"this machine scores {judged:.1f} frames/s one by one; --fps sets what each camera sends")
    return affordable_fps(judged, options.all_cameras)


def _learn_to_draw() -> None:
    """Ending is mostly waiting: time to import what the report needs, which takes a second or two."""
    import workers.demo.report  # noqa: F401


def _export(running: Services, prefix: str) -> str:
    """Where we are. What the environment named is known already, and may hold a password."""
    named = [f"ANDON_TOPIC_PREFIX={prefix}"]
    if running.broker:
        named.append(f"KAFKA_BOOTSTRAP={running.kafka_bootstrap}")
    if running.valkey:
        named.append(f"REDIS_URL={running.redis_url}")
    return f"export {' '.join(named)}"


def _plc_arguments(ports: PlcPorts) -> list[str]:
    arguments = ["plc", "run", "--plain", "--modbus-port", str(ports.modbus), "--opcua-port", str(ports.opcua)]
    return [*arguments, *(part for line_id in LINES for part in ("--line", line_id))]


def _until_interrupted() -> None:
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(0.5)


def _follow(
    watch: Watch,
    options: Options,
    cameras: ChildProcess,
    workers: Sequence[ChildProcess],
    inference: Inference,
    lines: LineSide,
    console: Console,
) -> None:
    """Shows the live view until every frame has an end."""
    expected = options.all_frames
    progress, moved_at, printed_at = 0, time.monotonic(), 0.0
    with Live(console=console, refresh_per_second=4, auto_refresh=False, transient=False) as live:
        while True:
            time.sleep(0.25)
            lines.start_what_may_run()
            now_s = time.monotonic()
            if console.is_terminal:
                live.update(live_view(watch, expected), refresh=True)
            elif now_s - printed_at > 5:
                console.print(one_line(watch, expected))
                printed_at = now_s
            if watch.finished > progress:
                progress, moved_at = watch.finished, now_s
            over = not cameras.running and all(camera.ended for camera in watch.cameras.values())
            if over and watch.captured and watch.finished >= watch.captured:
                live.update(live_view(watch, watch.captured), refresh=True)
                return
            _check(cameras, workers, inference)
            if now_s - moved_at > _NO_PROGRESS_S:
                raise ServiceError(f"no frame was scored for {_NO_PROGRESS_S:g} s; see the logs beside {cameras.log}")


def _check(cameras: ChildProcess, workers: Sequence[ChildProcess], inference: Inference) -> None:
    if not cameras.running and cameras.exit_code:
        raise ServiceError(f"the cameras ended with exit code {cameras.exit_code}. Last lines:\n{cameras.log_tail()}")
    for worker in workers:
        if not worker.running:
            raise ServiceError(
                f"{worker.name} ended with exit code {worker.exit_code}. Last lines:\n{worker.log_tail()}"
            )
    if not inference.running:
        raise ServiceError(f"Ray Serve ended; see {inference.log}")


def _let_stops_follow(watch: Watch) -> None:
    deadline = time.monotonic() + _ALARMS_FOLLOW_S
    while {proof.line_id for proof in watch.proofs} != set(LINES) and time.monotonic() < deadline:
        time.sleep(0.1)


def _read_back(watch: Watch, lines: LineSide) -> list[str]:
    """Andon's own word and the coils must both say it."""
    proved = {proof.line_id for proof in watch.proofs}
    looks = {line_id: lines.look(line_id) for line_id in LINES}
    return [line for line, look in looks.items() if look and look.stands_stopped and line in proved & lines.started]
