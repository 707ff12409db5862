"""Progress of the workflow on the terminal: which stage, how many of how many, and the time left.

`snakemake --logger mobcg --logger-mobcg-scale demo` in place of Snakemake's own list of jobs.
"""

# No `from __future__ import annotations` here: Snakemake makes its command line from the types of the settings.
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from logging import WARNING, LogRecord
from statistics import mean

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from mobcg.config import read_config
from mobcg.errors import InputError
from mobcg.estimate import job_seconds
from mobcg.plan import load_plan

LABELS = {
    "simulate_atomistic": "atomistic runs",
    "observe_atomistic": "atomistic g(r) and D",
    "invert": "inversions",
    "simulate_shard": "shards of coarse runs",
    "simulate_prior_shard": "shards of the prior",
    "train": "trainings",
    "fit_force_field": "force-matched models",
    "judge": "judgements",
    "noise_floor": "noise floors",
    "evaluate": "evaluations",
}


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Settings of the plugin."""

    scale: str = field(default="demo", metadata={"help": "scale whose plan tells the time left", "required": False})
    target: str = field(default="all", metadata={"help": "all or forcematch", "required": False})


class LogHandler(LogHandlerBase):
    """Prints one line for each job that starts, ends or fails."""

    def __post_init__(self) -> None:
        """Learn what each job is expected to cost; the Snakefile is the one to complain of a wrong configuration."""
        try:
            plan = load_plan(read_config() | {"scale": self.settings.scale})
            costs = job_seconds(plan, target=self.settings.target)
        except InputError:
            costs = {}
        self.expected_s = {rule: mean(seconds) for rule, seconds in costs.items() if seconds}
        self.measured_s: dict[str, list[float]] = {}
        self.total: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.running: dict[int, tuple[str, str, float]] = {}  # job → rule, subject, start
        self.cores = 1

    def emit(self, record: LogRecord) -> None:
        """Print what a user wants to know of one event."""
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            counts = {rule: n for rule, n in record.stats.items() if rule != "total"}
            self.total.update(counts)
            self._say(f"{sum(counts.values())} jobs to do")
        elif event == LogEvent.RESOURCES_INFO and getattr(record, "cores", None):
            self.cores = record.cores
        elif event == LogEvent.JOB_INFO:
            subject = " ".join(str(value) for value in dict(record.wildcards or {}).values())
            self.running[record.jobid] = (record.rule_name, subject, time.monotonic())
            self._say(f"{self._stage(record.rule_name)}: started {subject}")
        elif event == LogEvent.JOB_FINISHED:
            self._finish(record.job_id)
        elif event == LogEvent.JOB_ERROR:
            rule, subject, _ = self.running.pop(record.jobid, (record.rule_name, "", 0.0))
            logs = ", ".join(map(str, getattr(record, "log", None) or [])) or "the messages above"
            self._say(f"{self._stage(rule)}: FAILED {subject}; see {logs}")
        elif event == LogEvent.ERROR or (event is None and record.levelno >= WARNING):
            print(record.getMessage(), file=sys.stderr, flush=True)

    def _finish(self, job_id: int) -> None:
        rule, _, started = self.running.pop(job_id, ("", "", 0.0))
        if not rule:
            return
        self.done[rule] += 1
        self.measured_s.setdefault(rule, []).append(time.monotonic() - started)
        left = self._time_left_s()
        of = f"{sum(self.done.values())} of {sum(self.total.values())} jobs"
        self._say(f"{self._stage(rule)} done; {of}, about {_minutes(left)} left")

    def _time_left_s(self) -> float:
        seconds = 0.0
        for rule, total in self.total.items():
            each = mean(self.measured_s[rule]) if rule in self.measured_s else self.expected_s.get(rule, 0.0)
            seconds += each * (total - self.done[rule])
        now = time.monotonic()
        return max(0.0, seconds - sum(now - started for *_, started in self.running.values())) / self.cores

    def _stage(self, rule: str) -> str:
        return f"{LABELS.get(rule, rule.replace('_', ' '))} {self.done[rule]}/{self.total[rule]}"

    def _say(self, text: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
