# SPDX-License-Identifier: MIT
#
# netlab.py: boards on one machine: a network namespace each, joined by a bridge, their links as fast as a
# token bucket filter lets them be; nodes in them, plans for these, and what their traces say. All of it
# is gone with the process that made it: pipeline.sh runs it in namespaces of its own.
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

PORT = 7433
# A bucket holds what may pass at once, as a switch's buffer; it is kept below one chunk's rows.
BURST = {1000: 16 << 10, 100: 4 << 10}


def say(*words):
    print("pipeline:", *words, file=sys.stderr, flush=True)


def median(values):
    values = list(values)
    return statistics.median(values) if values else float("nan")


def call(*cmd, **more):
    done = subprocess.run([str(c) for c in cmd], text=True, capture_output=True, **more)
    if done.returncode:
        sys.exit(f"pipeline: {' '.join(map(str, cmd))} failed: {done.stderr.strip()[-400:]}")
    return done.stdout


def keep_awake():
    """
    A board at work does not sleep, but the processors that imitate it would, three quarters of the time: they are
    slower for a while when they wake, the more so on a virtual machine. What nobody else wants, this takes.
    """
    for cpu in os.sched_getaffinity(0):
        subprocess.Popen(["taskset", "-c", str(cpu), "chrt", "--idle", "0", "sh", "-c", "while :; do :; done"])


class Lab:
    """Namespaces joined by a bridge in the present one."""

    def __init__(self):
        call("mount", "-t", "tmpfs", "none", "/run/netns") if Path("/run/netns").is_dir() else os.mkdir(
            "/run/netns"
        )
        call("ip", "link", "set", "lo", "up")
        call("ip", "link", "add", "br0", "type", "bridge")
        call("ip", "link", "set", "br0", "up")
        self.boards = {}

    def add(self, name, mbit=1000):
        """A board; @mbit: of its link, each way."""
        number = len(self.boards) + 2
        here, there = f"v{number}", "eth0"
        inside = ["ip", "netns", "exec", name]
        call("ip", "netns", "add", name)
        call("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        call("ip", "link", "set", here, "master", "br0", "up")
        call(*inside, "ip", "addr", "add", f"10.9.0.{number}/24", "dev", there)
        call(*inside, "ip", "link", "set", there, "up")
        call(*inside, "ip", "link", "set", "lo", "up")
        self.boards[name] = f"10.9.0.{number}"
        self.rate(name, mbit)

    def rate(self, name, mbit):
        number = self.boards[name].rsplit(".", 1)[1]
        shape = ["root", "tbf", "rate", f"{mbit}mbit", "burst", BURST[mbit], "latency", "100ms"]
        call("tc", "qdisc", "replace", "dev", f"v{number}", *shape)
        call("ip", "netns", "exec", name, "tc", "qdisc", "replace", "dev", "eth0", *shape)

    def plug(self, name, state):
        """"down": nothing reaches the board any more, and nobody is told so; "up"."""
        call("ip", "link", "set", "v" + self.boards[name].rsplit(".", 1)[1], state)

    def run(self, name, *cmd, **more):
        return subprocess.Popen(["ip", "netns", "exec", name, *[str(c) for c in cmd]], **more)


class Node:
    """`sherd node` on a board; @shards: a folder that is not the one of all."""

    def __init__(self, bench, board, dilate, *options, cpu=None, tls=None, shards=None):
        self.board, self.trace_at = board, bench.out / f"{board}.trace"
        self.log_at = bench.out / f"{board}.log"
        pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
        tls = ["--tls", tls] if tls else ["--insecure"]
        slow = ["--dilate", str(dilate)] if dilate > 1 else []
        where = ["--listen", f"{bench.lab.boards[board]}:{PORT}", "--name", board]
        where += ["--shards", shards or bench.shards]
        self.log = open(self.log_at, "w")
        self.process = bench.lab.run(
            board, *pin, *bench.priority, bench.sherd, "node", *where, "-t", 1, *tls, *slow,
            "--trace", self.trace_at, *options, stderr=self.log,
        )
        end = time.monotonic() + 20
        while "listens at" not in self.log_at.read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"pipeline: {board} does not start: {self.log_at.read_text()[-400:]}")
            time.sleep(0.02)

    def lines(self):
        """An event each; what a node writes at this very moment is left out."""
        lines = (line.rstrip(",") for line in self.trace_at.read_text().splitlines())
        return [line for line in lines if line.startswith('{"ph": "X"') and line.endswith("}}")]

    def steps(self, since=0):
        """(start, end, rows, position) of each step, in microseconds; @since: events to leave out."""
        events = (json.loads(line) for line in self.lines()[since:])
        return [
            (e["ts"], e["ts"] + e["dur"], e["args"]["rows"], e["args"]["position"]) for e in events
        ]

    def mark(self):
        return len(self.lines())

    def kill(self, sig=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        if sig in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait()
            self.log.close()


def split(n_layers, parts):
    """Spans of layers, as equal as they can be."""
    cuts = [round(n_layers * i / parts) for i in range(parts + 1)]
    return list(zip(cuts, cuts[1:]))


def write_plan(bench, path, stages, spares=(), chunk=16, sessions=1, n_ctx=256):
    """@stages: (board, first, end); @spares: (board, span, ...)."""
    boards = [s[0] for s in stages] + [s[0] for s in spares]
    for _, first, end in stages:
        bench.shard(first, end)
    plan = {
        "sherd_plan": 1,
        "model": bench.model_json,
        "wire": "int8",
        "kv": "f16",
        "n_ctx": n_ctx,
        "n_sessions": sessions,
        "chunk": chunk,
        "nodes": {b: {"address": f"{bench.lab.boards[b]}:{PORT}"} for b in boards},
        "stages": [{"node": b, "first": f, "end": e} for b, f, e in stages],
    }
    if spares:
        plan["spares"] = [{"node": s[0], "spans": [list(span) for span in s[1:]]} for s in spares]
    Path(path).write_text(json.dumps(plan))
    return path


def flow_shop(times):
    """The least time in which chunks pass machines in order; @times[machine][chunk]."""
    ends = [0.0] * len(times[0])
    for machine in times:
        at = 0.0
        for i, t in enumerate(machine):
            at = max(at, ends[i]) + t
            ends[i] = at
    return ends[-1]


def prompts(nodes_steps, n_prompt):
    """Of each prompt that the traces hold whole: [stage][chunk] -> (start, end)."""
    per_stage = []
    for steps in nodes_steps:
        runs, run = [], []
        for start, end, rows, position in steps:
            if position == 0:
                run = []
            run.append((start, end))
            if position + rows == n_prompt:
                runs.append(run)
        per_stage.append(runs)
    return list(zip(*per_stage))


def hops(before, after):
    """Microseconds from a step's end at one stage to the start of the same token's at the next."""
    starts = {}
    for start, _, rows, position in after:
        if rows == 1:
            starts.setdefault(position, []).append(start)
    gaps = []
    for _, end, rows, position in before:
        later = [s for s in starts.get(position, []) if s >= end] if rows == 1 else []
        if later:
            gaps.append(min(later) - end)
    return gaps
