# SPDX-License-Identifier: MIT
#
# pipeline.py: how fast a model runs on several boards, against one board, against what is possible, and
# against what was predicted. Boards are imitated on this machine (netlab.py); a board is --dilate times as slow as
# one of its cores, so that three of them have room on two. What is compared is measured in turns, in both orders,
# and what is printed are medians. pipeline.sh calls it, in namespaces of its own.
import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path

import pipeline_more as more
from netlab import (
    PORT, Lab, Node, call, flow_shop, hops, keep_awake, median, prompts, say, split, write_plan,
)

CHUNKS = (12, 16, 18, 24)
ONE_BOARD_CHUNKS = (24, 48, 64, 128)
SIZE_AT_DECODE = 64 + 64 + 1088  # a frame: header, a token's id padded, a row of the model's


class Bench:
    def __init__(self, args):
        self.args = args
        self.sherd, self.model, self.work = args.sherd, args.model, args.work
        self.out, self.shards = args.work / "pipeline", args.work / "shards"
        self.out.mkdir(exist_ok=True)
        self.shards.mkdir(exist_ok=True)
        self.priority = ["nice", "-n", str(args.nice)] if args.nice else []
        if args.nice and Path("/proc/self/autogroup").exists():
            os.setsid()  # where sessions share the processors evenly, it is the session that is nice
            Path("/proc/self/autogroup").write_text(str(args.nice))
        self.rows = []  # of the table: (what, measured, goal, reached, remarks)
        self.log = {}
        whole = json.loads(call(self.sherd, "info", "--json", self.model))
        self.n_layers = whole["layers"] if "layers" in whole else 24
        self.model_json = {
            "name": "bench", "path": str(self.model), "arch": "llama", "n_layers": self.n_layers,
            "hidden": 1024, "bits": "file", "hash": self.hash(),
        }
        self.lab = Lab()
        self.lab.add("head")

    def hash(self):
        known = self.shards / "hash"
        if not known.exists():
            made = call(self.sherd, "pack", self.model, "-o", self.name(0, 24), "--json")
            known.write_text(json.loads(made)["source_sha256"])
        return known.read_text()

    def name(self, first, end):
        return self.shards / f"{first}-{end}.gguf"

    def shard(self, first, end):
        if not self.name(first, end).exists():
            call(self.sherd, "pack", self.model, "-o", self.name(first, end), "--layers", f"{first}-{end - 1}")

    def bench(self, plan, *options, tls=None):
        how = ["--tls", tls] if tls else ["--insecure"]
        cmd = ["ip", "netns", "exec", "head", *self.priority, self.sherd, "bench", "--plan", plan]
        return json.loads(call(*cmd, *how, "--json", *options))

    def ask(self, boards, *options):
        """The planner's plan for boards that run, which are asked for what they have measured."""
        cluster, plan = self.out / "cluster.json", self.out / "planned.json"
        nodes = [{"name": b, "address": f"{self.lab.boards[b]}:{PORT}", "memory": "2GiB"} for b in boards]
        cluster.write_text(json.dumps({"nodes": nodes}))
        cmd = ["ip", "netns", "exec", "head", *self.priority, self.sherd, "plan", "--cluster", cluster, "-o", plan]
        call(*cmd, "-m", self.model, "--insecure", "-c", 256, "--prompt-tokens", self.args.prompt, "--seconds",
             self.args.profile_seconds, "--no-spares", *options)
        return plan, json.loads(plan.read_text())

    def plan(self, boards, *options):
        """
        The same of new measurements. Real boards would measure at the same time; these share a machine, and do it one
        after the other. Those that share a folder of shards keep one profile there: they are to be alike.
        """
        for b in boards:
            self.ask([b], "--remeasure")
        return self.ask(boards, *options)

    def row(self, what, measured, goal="", reached=None, remarks=""):
        verdict = "" if reached is None else "yes" if reached else "no"
        self.rows.append((what, measured, goal, verdict, remarks))
        say(f"{what}: {measured}" + (f" (goal {goal}: {verdict})" if goal else "") + f" {remarks}")


class Cluster:
    """Boards with a node each, and a plan with equal parts for them."""

    def __init__(self, bench, name, n, mbit=1000, dilate=None, cpus=None, goal=None, tls=None, options=()):
        self.bench, self.name, self.goal, self.mbit, self.tls = bench, name, goal, mbit, tls
        self.boards = [f"{name}-{i + 1}" for i in range(n)]
        for b in self.boards:
            if b not in bench.lab.boards:
                bench.lab.add(b, mbit)
        self.stages = [(b, f, e) for b, (f, e) in zip(self.boards, split(bench.n_layers, n))]
        self.plan = write_plan(bench, bench.out / f"{name}.json", self.stages, sessions=8)
        k = bench.args.dilate if dilate is None else dilate
        self.nodes = [
            Node(bench, b, k, *options, cpu=cpus[i] if cpus else None, tls=tls) for i, b in enumerate(self.boards)
        ]
        self.chunk, self.seconds, self.bounds = 16, [], []

    def prompt(self, chunk, reps):
        """Seconds of each prompt, and the flow shop's bound by its own steps' times."""
        marks = [n.mark() for n in self.nodes]
        n = self.bench.args.prompt
        made = self.bench.bench(self.plan, "-p", n, "-n", 0, "-r", reps, "--chunk", chunk, tls=self.tls)
        seconds = [ns * 1e-9 for ns in made[0]["samples_ns"]]
        runs = prompts([node.steps(m) for node, m in zip(self.nodes, marks)], n)[-reps:]
        bounds = [flow_shop([[(e - s) * 1e-6 for s, e in stage] for stage in run]) for run in runs]
        return seconds, bounds

    def choose(self, chunks):
        took = {c: [] for c in chunks}
        for c in [*chunks, *reversed(chunks)]:
            took[c] += self.prompt(c, 2)[0]
        speed = {c: median(t) for c, t in took.items()}
        self.chunk = min(speed, key=speed.get)
        say(f"{self.name}: chunks of {self.chunk}, of " + ", ".join(f"{c}: {s:.3f} s" for c, s in speed.items()))

    def stop(self):
        for n in self.nodes:
            n.kill()


def spread(values):
    return f"{min(values):.2f} to {max(values):.2f}"


def speed_up(bench, one, clusters):
    """Prompts on every cluster in turns, there and back, and what came of them."""
    one.choose(ONE_BOARD_CHUNKS)
    planned = {}
    for c in clusters:
        c.choose(CHUNKS)
        planned[c.name] = bench.plan(c.boards, "--all")[1]["chunk"]
    everybody, ratios = [one, *clusters], {c.name: [] for c in clusters}
    for turn in range(bench.args.rounds):
        took = {}
        for c in everybody if turn % 2 == 0 else reversed(everybody):
            seconds, bounds = c.prompt(c.chunk, bench.args.reps)
            took[c.name] = median(seconds)
            c.seconds += seconds
            c.bounds += bounds
        for c in clusters:
            ratios[c.name].append(took[one.name] / took[c.name])
    n = bench.args.prompt
    bench.row(f"{one.name}, prompt of {n}", f"{median(one.seconds):.3f} s", remarks=f"chunks of {one.chunk}")
    for c in clusters:
        r = median(ratios[c.name])
        share = median(b / s for b, s in zip(c.bounds, c.seconds))
        bench.row(
            f"{c.name}, prompt of {n}", f"{r:.2f} times as fast as {one.name} ({spread(ratios[c.name])})",
            f">= {c.goal}" if c.goal else "", r >= c.goal if c.goal else None,
            f"{median(c.seconds):.3f} s, chunks of {c.chunk}; the planner's choice: {planned[c.name]}",
        )
        bench.row(f"{c.name}, of what its stages' times allow", f"{100 * share:.1f} %", ">= 92 %", share >= 0.92,
                  f"bound {median(c.bounds):.3f} s")
    bench.log["prompt"] = {c.name: {"seconds": c.seconds, "bounds": c.bounds, "chunk": c.chunk} for c in everybody}
    bench.log.setdefault("planned", {}).update(planned)
    bench.log["ratios"] = ratios


def dilated_prompts(bench):
    """
    1, 2 and 3 boards, Gigabit; 2 at 100 Mbit/s. One computes at a time: a pipeline's stages begin together, and would
    compete for this machine's memory and caches, which real boards do not share.
    """
    turns = ["--dilate-turns", bench.out / "turns"] if bench.args.turns else []
    one = Cluster(bench, "1-board", 1, options=turns)
    clusters = [
        Cluster(bench, "2-boards", 2, goal=1.65, options=turns),
        Cluster(bench, "3-boards", 3, goal=2.15, options=turns),
        Cluster(bench, "2-boards-100M", 2, mbit=100, goal=1.55, options=turns),
    ]
    speed_up(bench, one, clusters)
    one.stop()
    for c in clusters:
        sustained(bench, c)
    for c in clusters:
        c.stop()


def sustained(bench, c):
    """Requests under way all the time: the slowest stage should never wait."""
    n = 3 * len(c.boards)
    made = bench.bench(c.plan, "-p", bench.args.prompt, "-n", 8, "--sessions", n, "--chunk", c.chunk, "-r",
                       bench.args.rounds)[0]
    stages = made["stages"]
    slowest = max(stages, key=lambda s: s["work_s"])
    bench.row(
        f"{c.name}, {n} requests at a time, share of 1 / slowest stage", f"{100 * slowest['busy']:.1f} %", ">= 90 %",
        slowest["busy"] >= 0.9,
        f"{made['requests_per_s']:.2f} requests/s, {made['avg_ts']:.1f} tokens/s; stages busy "
        + ", ".join(f"{100 * s['busy']:.0f} %" for s in stages),
    )
    bench.log.setdefault("sustained", {})[c.name] = made


def pinned_prompts(bench):
    """Two boards as fast as a core each, against one of them."""
    one = Cluster(bench, "1-core", 1, dilate=1, cpus=[0])
    two = Cluster(bench, "2-cores", 2, dilate=1, cpus=[0, 1])
    speed_up(bench, one, [two])
    one.stop()
    two.stop()


def oneway(bench, sender, receiver, size, interval_us, count, cpus=None):
    """Raw TCP between two boards, microseconds."""
    pins = [["taskset", "-c", str(c)] for c in cpus] if cpus else [[], []]
    tool, where = bench.work / "oneway", bench.lab.boards[receiver]
    import subprocess
    import time

    ear = bench.lab.run(receiver, *pins[1], *bench.priority, tool, "listen", where, 7000, size, count,
                        stdout=subprocess.PIPE, text=True)
    time.sleep(0.2)
    bench.lab.run(sender, *pins[0], *bench.priority, tool, "send", where, 7000, size, count, interval_us).wait()
    return [float(x) for x in ear.communicate()[0].split()]


def hop_turns(bench, c, cpus=None):
    """Decode and raw TCP in turns; microseconds of every hop, and of every message."""
    ours, raw, n = [], [], bench.args.gen
    for _ in range(bench.args.rounds):
        marks = [node.mark() for node in c.nodes]
        made = bench.bench(c.plan, "-p", 0, "-n", n, "-r", 1, tls=c.tls)
        steps = [node.steps(m) for node, m in zip(c.nodes, marks)]
        ours += hops(steps[0], steps[1])
        step = made[0]["samples_ns"][0] * 1e-3 / n
        if not c.tls:
            raw += oneway(bench, *c.boards, SIZE_AT_DECODE, int(step), n, cpus)
    return ours, raw


def decode_hops(bench, certs):
    for name, dilate, cpus in (("2-boards", None, None), ("2-cores", 1, [0, 1])):
        plain = Cluster(bench, name, 2, dilate=dilate, cpus=cpus)
        ours, raw = hop_turns(bench, plain, cpus)
        plain.stop()
        secret = Cluster(bench, name, 2, dilate=dilate, cpus=cpus, tls=certs)
        tls, _ = hop_turns(bench, secret, cpus)
        secret.stop()
        more_us = median(ours) - median(raw)
        bench.row(
            f"{name}, a hop at decode over raw TCP", f"+ {more_us:.0f} us", "<= 80 us", more_us <= 80,
            f"{median(ours):.0f} us, raw TCP {median(raw):.0f} us; with TLS {median(tls) - median(ours):+.0f} us",
        )
        bench.log.setdefault("hops", {})[name] = {"ours": ours, "raw": raw, "tls": tls}


def report(bench):
    head = ("what", "measured", "goal", "reached", "")
    lines = [
        f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Linux "
        f"{platform.release()}, boards {bench.args.dilate:g} times as slow as a core, load {bench.load:.1f} before",
        "",
    ]
    lines += ["| " + " | ".join(r) + " |" for r in [head, ("---",) * 5, *bench.rows]]
    text = "\n".join(lines) + "\n"
    print(text)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    (bench.work / f"pipeline-{stamp}.md").write_text(text)
    (bench.work / f"pipeline-{stamp}.json").write_text(json.dumps({"rows": bench.rows, "log": bench.log}, indent=1))


PARTS = {
    "prompt": lambda b, certs: dilated_prompts(b),
    "pinned": lambda b, certs: pinned_prompts(b),
    "hop": decode_hops,
    "planner": lambda b, certs: more.planner(b, Cluster),
    "failure": lambda b, certs: more.failures(b),
    "peer": lambda b, certs: more.peer(b, Cluster),
}


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--sherd", type=Path, required=True)
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--certs", type=Path, required=True)
    p.add_argument("--part", choices=PARTS, action="append", help="only this; may be given several times")
    p.add_argument("--dilate", type=float, default=4)
    p.add_argument("--prompt", type=int, default=128)
    p.add_argument("--gen", type=int, default=48)
    p.add_argument("--rounds", type=int, default=4)
    p.add_argument("--reps", type=int, default=3)
    p.add_argument("--profile-seconds", type=float, default=4, help="for each of the planner's profiles")
    p.add_argument("--nice", type=int, default=0, help="of nodes and heads: -10 keeps other work out of the way")
    p.add_argument("--no-turns", dest="turns", action="store_false", help="imitated boards may compute together")
    p.add_argument("--quick", action="store_true", help="one round of everything: tries the scripts out")
    args = p.parse_args()
    if args.quick:
        args.rounds = args.reps = 1
    return args


def main():
    args = parse()
    bench = Bench(args)
    bench.load = os.getloadavg()[0]
    if bench.load > 0.5:
        say(f"the load is {bench.load:.1f}: other work on the machine spoils the numbers")
    keep_awake()
    for name in args.part or PARTS:
        PARTS[name](bench, args.certs)
    report(bench)


main()
