# SPDX-License-Identifier: MIT
#
# pipeline_more.py: what pipeline.py measures besides speed: whether the planner knew it, how long the loss of a
# board takes, and what llama.cpp's RPC back end does on the same boards.
import json
import os
import re
import signal
import statistics
import subprocess
import threading
import time

from netlab import Node, call, median, say, write_plan

# Uneven clusters: how many times as slow as a core each board is.
UNEVEN = ((4, 6), (8, 4), (4, 5, 8), (6, 4, 4), (3, 9, 6))
GOAL_RECOVERY_S = 3.0


# ---------------------------------------------------------------- the planner


class Planned:
    """Boards that are so many times as slow as a core, each with a folder of shards, as real ones have."""

    def __init__(self, bench, boards, slow):
        self.bench, self.boards = bench, boards[: len(slow)]
        self.folders = {b: bench.out / f"{b}-shards" for b in self.boards}
        for folder in self.folders.values():
            folder.mkdir(exist_ok=True)
        self.nodes = [Node(bench, b, k, shards=self.folders[b]) for b, k in zip(self.boards, slow)]

    def plan(self):
        """What users do: the boards measure themselves and their links; but shards are linked, not pushed."""
        plan, made = self.bench.plan(self.boards)
        for s in made["stages"]:
            self.bench.shard(s["first"], s["end"])
            shard = self.bench.name(s["first"], s["end"])
            to = self.folders[s["node"]] / shard.name
            to.unlink(missing_ok=True)
            os.link(shard, to)
        return plan, made

    def stop(self):
        for n in self.nodes:
            n.kill()


def one_cluster(bench, boards, slow):
    """Relative errors of the prediction, each of a profile and a run right after it; the noise; the chunks."""
    cluster = Planned(bench, boards, slow)
    errors, measured, chunks, chosen = [], [], [], ""
    for _ in range(bench.args.rounds):
        plan, made = cluster.plan()
        run = bench.bench(plan, "-p", bench.args.prompt, "-n", 0, "-r", bench.args.reps)
        took = median(run[0]["samples_ns"]) * 1e-6
        measured += [ns * 1e-6 for ns in run[0]["samples_ns"]]
        errors.append(made["predicted"]["first_token_ms"] / took - 1)
        chunks.append(made["chunk"])
        chosen = "/".join(f"{s['end'] - s['first']}" for s in made["stages"])
    cluster.stop()
    say(f"boards {slow}: layers {chosen}, chunks of {chunks}: predicted {100 * median(errors):+.1f} %")
    return errors, statistics.pstdev(measured) / median(measured), chunks


def planner(bench, _):
    boards = ["plan-1", "plan-2", "plan-3"]
    for b in boards:
        bench.lab.add(b)
    errors, noise, chunks = {}, [], {}
    for slow in UNEVEN:
        errors[slow], n, chunks[slow] = one_cluster(bench, boards, slow)
        noise.append(n)
    off = [abs(e) for es in errors.values() for e in es]
    bench.row("planner's prediction of the first token, 5 uneven clusters", f"{100 * median(off):.1f} % off",
              "<= 10 %", median(off) <= 0.1,
              "; ".join(f"{'/'.join(map(str, k))}: {100 * median(e):+.1f} % in chunks of "
                        + ", ".join(map(str, sorted(set(chunks[k])))) for k, e in errors.items())
              + f"; a cluster's own prompts vary by {100 * median(noise):.1f} %")
    bench.log["planner"] = {str(k): {"errors": e, "chunks": chunks[k]} for k, e in errors.items()}


# ------------------------------------------------------------------- failures


class Text:
    """`sherd run` on a plan; when each piece of its text came, and each sentence."""

    def __init__(self, bench, plan, n):
        self.pieces, self.notes = [], []
        self.process = bench.lab.run(
            "head", *bench.priority, bench.sherd, "run", "--plan", plan, "--insecure", "-m", bench.model, "-p",
            "bobi tu ra " * 12, "-n", n, "-s", 3, "--temp", 0.7, "--ignore-eos",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.threads = [
            threading.Thread(target=self.listen, args=(pipe, to))
            for pipe, to in ((self.process.stdout, self.pieces), (self.process.stderr, self.notes))
        ]
        for t in self.threads:
            t.start()

    def listen(self, pipe, to):
        while data := os.read(pipe.fileno(), 4096):
            to.append((time.monotonic(), data))

    def wait_for(self, n):
        while len(self.pieces) < n and self.process.poll() is None:
            time.sleep(0.002)

    def end(self):
        self.process.wait()
        for t in self.threads:
            t.join()
        return b"".join(data for _, data in self.pieces)

    def gap(self, since):
        """The longest wait for a piece after @since, and when it was over."""
        times = [since] + [t for t, _ in self.pieces if t > since]
        return max(((b - a, b) for a, b in zip(times, times[1:])), default=(float("inf"), since))

    def said(self, words):
        return next((t for t, data in self.notes if words.encode() in data), None)


def replay_s(spare, since, until):
    """How long the spare computed what the lost stage had known already."""
    return sum(e - s for s, e, rows, _ in spare.steps() if rows > 1 and since * 1e6 < s < until * 1e6) * 1e-6


class Trio:
    """Two stages, and a spare that has the layers of both."""

    def __init__(self, bench):
        self.bench, self.boards = bench, ["loss-1", "loss-2", "loss-3"]
        for b in self.boards:
            bench.lab.add(b)
        half = bench.n_layers // 2
        spans = [(0, half), (half, bench.n_layers)]
        self.plan = write_plan(bench, bench.out / "loss.json",
                               [(b, *span) for b, span in zip(self.boards, spans)], [(self.boards[2], *spans)])
        self.nodes = []

    def start(self, *options):
        """All nodes anew; @options: of the second stage's."""
        self.stop()
        k = self.bench.args.dilate
        self.nodes = [Node(self.bench, b, k, *(options if i == 1 else ())) for i, b in enumerate(self.boards)]

    def stop(self):
        for n in self.nodes:
            n.kill()


def strike(trio, n_tokens, how):
    """A text during which @how strikes; the wait without the replay, the replay, and the text."""
    text = Text(trio.bench, trio.plan, n_tokens)
    text.wait_for(n_tokens // 3)
    at = time.monotonic()
    how()
    whole = text.end()
    wait, over = text.gap(at)
    replay = replay_s(trio.nodes[2], at, over)
    return wait - replay, replay, whole


def failures(bench):
    trio, n = Trio(bench), bench.args.gen
    trio.start()
    want = Text(bench, trio.plan, n).end()
    cases = (
        ("SIGKILL", lambda: trio.nodes[1].kill()),
        ("blackhole", lambda: bench.lab.plug(trio.boards[1], "down")),
        ("SIGSTOP", lambda: trio.nodes[1].kill(signal.SIGSTOP)),
    )
    for name, how in cases:
        waits, same = [], True
        for _ in range(bench.args.rounds):
            trio.start()
            wait, replay, text = strike(trio, n, how)
            bench.lab.plug(trio.boards[1], "up")
            waits.append(wait)
            same = same and text == want
        worst = max(waits)
        bench.row(f"{name} of a stage in mid-sentence, to the next token", f"{worst:.2f} s at worst, and the replay",
                  "<= 3 s, same tokens", worst <= GOAL_RECOVERY_S and same,
                  f"median {median(waits):.2f} s, replay {replay:.2f} s, {'the same' if same else 'OTHER'} tokens")
    hang(bench, trio, n, want)
    trio.stop()


def hang(bench, trio, n, want):
    """A device that never comes back, while its process is well."""
    ratios, same = [], True
    for _ in range(bench.args.rounds):
        trio.start("--hang-after", n // 2)
        text = Text(bench, trio.plan, n)
        same = text.end() == want and same
        steps = sorted(e - s for s, e, rows, _ in trio.nodes[1].steps() if rows == 1)
        p99 = steps[min(len(steps) - 1, int(0.99 * len(steps)))] * 1e-6
        known = text.said(f"go from {trio.boards[1]}") or float("inf")
        began = max((e for _, e, rows, _ in trio.nodes[0].steps() if rows == 1 and e * 1e-6 < known), default=0)
        ratios.append((known - began * 1e-6) / p99)
    worst = max(ratios)
    bench.row("hung compute, until another node is given the stage", f"{worst:.1f} times the stage's p99 at worst",
              "<= 4", worst <= 4 and same, f"median {median(ratios):.1f}; {'the same' if same else 'OTHER'} tokens")


# ----------------------------------------------------------------------- peers


def rpc_servers(bench, build, boards):
    tool = bench.work / "peer" / build / "bin" / "ggml-rpc-server"
    servers = [
        bench.lab.run(b, "taskset", "-c", i, *bench.priority, tool, "-H", bench.lab.boards[b], "-p", 50052, "-t", 1,
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for i, b in enumerate(boards)
    ]
    time.sleep(1)
    return servers


def rpc_bench(bench, build, boards):
    where = ",".join(f"{bench.lab.boards[b]}:50052" for b in boards)
    made = json.loads(call(
        "ip", "netns", "exec", "head", *bench.priority, bench.work / "peer" / build / "bin" / "llama-bench", "-m",
        bench.model, "--rpc", where, "-ngl", 99, "-p", bench.args.prompt, "-n", 16, "-r", bench.args.reps, "-t", 1,
        "-o", "json"))
    return [median(r["samples_ts"]) for r in made]


def distributed_llama(bench, boards):
    """Its root on one board, a worker on the other; $DLLAMA_MODEL and _TOKENIZER are in its own format."""
    tool, model, vocabulary = (os.environ.get("DLLAMA" + x) for x in ("", "_MODEL", "_TOKENIZER"))
    if not tool or not model or not vocabulary:
        bench.row("distributed-llama", "skipped: DLLAMA, DLLAMA_MODEL and DLLAMA_TOKENIZER say where it is")
        return
    pins = [["taskset", "-c", i, *bench.priority] for i in range(2)]
    worker = bench.lab.run(boards[1], *pins[1], tool, "worker", "--port", 9999, "--nthreads", 1,
                           stdout=subprocess.DEVNULL)
    time.sleep(1)
    said = call("ip", "netns", "exec", boards[0], *pins[0], tool, "inference", "--model", model, "--tokenizer",
                vocabulary, "--buffer-float-type", "q80", "--nthreads", 1, "--steps", bench.args.prompt + 16,
                "--prompt", "word " * bench.args.prompt, "--workers", f"{bench.lab.boards[boards[1]]}:9999")
    worker.kill()
    worker.wait()
    speeds = re.findall(r"tokens/s: *([0-9.]+)", said)  # of the prompt ("Evaluation"), then of what follows
    n = re.findall(r"nTokens: *([0-9]+)", said)
    if len(speeds) != 2:
        bench.row("2 cores, distributed-llama", "skipped: this release says its speed in other words")
        return
    bench.row("2 cores, distributed-llama: prompt, decode", f"{speeds[0]}, {speeds[1]} tokens/s",
              remarks=f"prompt of {n[0]}; {os.path.basename(model)}: another model than that of the other rows, unless "
              "it has the same shape")


def peer(bench, cluster):
    """Two boards as fast as a core each: llama.cpp's RPC back end and sherd in turns."""
    builds = bench.work / "peer" / "builds"
    if not builds.exists() or not builds.read_text().split():
        bench.row("llama.cpp's RPC", "skipped: no build of it")
        return
    build = builds.read_text().split()[0]
    c = cluster(bench, "2-cores", 2, dilate=1, cpus=[0, 1])
    c.choose((12, 18, 24, 48))
    ours, theirs = [], []
    for _ in range(bench.args.rounds):
        servers = rpc_servers(bench, build, c.boards)
        theirs.append(rpc_bench(bench, build, c.boards))
        for s in servers:
            s.kill()
            s.wait()
        made = bench.bench(c.plan, "-p", bench.args.prompt, "-n", 16, "-r", bench.args.reps, "--chunk", c.chunk)
        ours.append([median(r["samples_ts"]) for r in made])
    c.stop()
    distributed_llama(bench, c.boards)
    for i, what in enumerate((f"prompt of {bench.args.prompt}", "16 tokens of decode")):
        us, they = median(o[i] for o in ours), median(t[i] for t in theirs)
        bench.row(f"2 cores, {what}: sherd, llama.cpp's RPC", f"{us:.1f}, {they:.1f} tokens/s",
                  remarks=f"{us / they:.2f} times as fast ({build} build)")
    bench.log["peer"] = {"ours": ours, "theirs": theirs}
