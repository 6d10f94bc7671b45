# SPDX-License-Identifier: MIT
#
# compare.py: sherd against llama.cpp on the same GGUF files, in one run on one machine. Machines
# change by the minute, so everything that is divided is measured as neighbours: pairs of runs in
# both orders (A B, B A, A B ...), a ratio a pair, the median of the ratios; and the read
# bandwidth before and after each of sherd's runs. Of several builds of llama.cpp the fastest
# counts, test by test.
#
#   compare.py --sherd FILE --peer FOLDER --models FOLDER --out FOLDER [--pairs N] [--quick]
import argparse
import datetime
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROMPT = "The region is a range of pinned memory that the processor and the device share."
MIB = 1 << 20


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def output(cmd, env=None):
    done = subprocess.run(
        [str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", env=env
    )
    if done.returncode:
        sys.exit(
            f"bench: {' '.join(map(str, cmd))} ended with {done.returncode}: "
            f"{done.stderr.strip()[-500:]}"
        )
    return done.stdout


class Sherd:
    name = "sherd"

    def __init__(self, args):
        self.args = args
        self.env = dict(os.environ, XDG_CACHE_HOME=str(args.out / "cache"))

    def bench(self, model, n_prompt, n_gen):
        return json.loads(
            output(
                [
                    self.args.sherd,
                    "bench",
                    "-m",
                    model,
                    "-p",
                    n_prompt,
                    "-n",
                    n_gen,
                    "-r",
                    self.args.reps,
                    "-t",
                    self.args.threads,
                    "--json",
                ],
                self.env,
            )
        )

    def run(self, model, n, ctx):
        return [
            self.args.sherd,
            "run",
            "-m",
            model,
            "-p",
            PROMPT,
            "-n",
            str(n),
            "-c",
            str(ctx),
            "-t",
            str(self.args.threads),
            "--temp",
            "0",
            "--ignore-eos",
        ]


class Peer:
    def __init__(self, args, build):
        self.args = args
        self.name = build
        self.bin = args.peer / build / "bin"
        self.env = dict(os.environ)

    def bench(self, model, n_prompt, n_gen):
        return json.loads(
            output(
                [
                    self.bin / "llama-bench",
                    "-m",
                    model,
                    "-p",
                    n_prompt,
                    "-n",
                    n_gen,
                    "-r",
                    self.args.reps,
                    "-t",
                    self.args.threads,
                    "-o",
                    "json",
                ]
            )
        )

    def run(self, model, n, ctx):
        return [
            self.bin / "llama-completion",
            "-m",
            model,
            "-p",
            PROMPT,
            "-n",
            str(n),
            "-c",
            str(ctx),
            "-t",
            str(self.args.threads),
            "--temp",
            "0",
            "--ignore-eos",
            "-no-cnv",
            "--no-warmup",
            "--no-display-prompt",
        ]


def rate(rows, test):
    """Tokens/s of "prefill" or "decode" in a list of rows as llama-bench and sherd print them."""
    key = "n_prompt" if test == "prefill" else "n_gen"
    return statistics.median(next(r for r in rows if r[key])["samples_ts"])


def fastest(peers, model, args):
    """The build that is fastest at each test, by a run of every build."""
    best = {}
    for p in peers:
        rows = p.bench(model, args.prompt, args.gen)
        args.log.append({"probe": p.name, "model": model.name, "rows": rows})
        for test in ("prefill", "decode"):
            ts = rate(rows, test)
            say(f"{model.name}: llama.cpp built by {p.name}: {test} {ts:.1f} t/s")
            if test not in best or ts > best[test][0]:
                best[test] = (ts, p)
    return {test: p for test, (_, p) in best.items()}


def one(who, model, test, args):
    n = (args.prompt, 0) if test == "prefill" else (0, args.gen)
    rows = who.bench(model, *n)
    args.log.append({"who": who.name, "model": model.name, "test": test, "rows": rows})
    return rows


def read_share(row, ts):
    """Share of the read bandwidth just before and after that @ts tokens/s come to."""
    if not row.get("limits_before") or not row.get("limits_after"):
        return float("nan"), float("nan")
    bw = (row["limits_before"]["read_bytes_per_s"] + row["limits_after"]["read_bytes_per_s"]) / 2
    return row["token_bytes"] * ts / bw, bw


def pairs(sherd, peer, model, test, args):
    ours, theirs, ratios, shares, bandwidths = [], [], [], [], []
    for i in range(args.pairs):
        order = [sherd, peer] if i % 2 == 0 else [peer, sherd]
        rows = {who.name: one(who, model, test, args) for who in order}
        a, b = rate(rows[sherd.name], test), rate(rows[peer.name], test)
        share, bw = read_share(rows[sherd.name][0], a)
        say(
            f"{model.name}: {test} pair {i + 1}: sherd {a:.1f}, llama.cpp {b:.1f} t/s, "
            f"ratio {a / b:.2f}"
        )
        ours.append(a), theirs.append(b), ratios.append(a / b)
        shares.append(share), bandwidths.append(bw)
    median = statistics.median
    return {
        "sherd": median(ours),
        "peer": median(theirs),
        "build": peer.name,
        "ratio": median(ratios),
        "ratios": ratios,
        "read_share": median(shares),
        "read": median(bandwidths),
    }


def start_to_end(who, model, args):
    """Seconds from exec to the end of a process that makes one token (its text may be empty)."""
    start = time.monotonic()
    output(who.run(model, 1, 512), who.env)
    return time.monotonic() - start


def first_token(sherd, peers, model, args):
    start_to_end(sherd, model, args)  # warms the page cache, and sherd's shards and kernels
    for p in peers:
        start_to_end(p, model, args)
    peer = min(peers, key=lambda p: start_to_end(p, model, args))
    ratios, ours, theirs = [], [], []
    for i in range(max(args.pairs, 3)):
        order = [sherd, peer] if i % 2 == 0 else [peer, sherd]
        s = {who.name: start_to_end(who, model, args) for who in order}
        ours.append(s[sherd.name]), theirs.append(s[peer.name])
        ratios.append(s[sherd.name] / s[peer.name])
    return {
        "sherd": statistics.median(ours),
        "peer": statistics.median(theirs),
        "build": peer.name,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def smaps(pid):
    """PSS of a process: in all, and of the mapped files that hold weights."""
    total = weights = 0
    name = ""
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            head = line.split(None, 5)
            if "-" in head[0] and ":" not in head[0]:
                name = head[5].strip() if len(head) > 5 else ""
            elif head[0] == "Pss:":
                kib = int(head[1])
                total += kib
                if name.startswith("/memfd:") or name.endswith((".gguf", ".shard", ".sherd")):
                    weights += kib
    return total * 1024, weights * 1024


def memory(who, model, kv_bytes, args):
    """The largest PSS of a run, and the largest that is left of it without weights and KV cache."""
    cmd = [str(c) for c in who.run(model, args.gen, 512)]
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=who.env)
    total = rest = 0
    while p.poll() is None:
        try:
            pss, weights = smaps(p.pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            break
        total, rest = max(total, pss), max(rest, pss - weights)
        time.sleep(0.02)
    if p.wait() or not total:
        sys.exit(f"bench: {' '.join(cmd)} ended with {p.returncode} before it could be weighed")
    return {"pss": total, "beyond": rest - kv_bytes}


def machine():
    model = next(
        (
            line.split(":")[1].strip()
            for line in open("/proc/cpuinfo")
            if line.startswith("model name")
        ),
        "unknown CPU",
    )
    return f"{model}, {os.cpu_count()} CPUs, Linux {os.uname().release}"


def shape(model, args):
    """Everything about one model file."""
    sherd, peers = args.sherd_runner, args.peers
    best = fastest(peers, model, args)
    r = {test: pairs(sherd, best[test], model, test, args) for test in ("prefill", "decode")}
    r["first"] = first_token(sherd, peers, model, args)
    kv = 22 * 2 * 256 * 512 * 2 if not args.quick else 0  # halves, a context of 512
    r["memory"] = memory(sherd, model, kv, args)
    r["peer_memory"] = memory(best["decode"], model, kv, args)
    return r


def verdict(ok):
    return "yes" if ok else "no"


def speed_row(name, test, r, goal):
    share = ""
    if test == "decode" and math.isfinite(r["read_share"]):
        share = f"{100 * r['read_share']:.0f} % of {r['read'] / 1e9:.1f} GB/s"
    reached = r["ratio"] >= goal or (test == "decode" and r["read_share"] >= 0.9)
    spread = f"{min(r['ratios']):.2f}-{max(r['ratios']):.2f}"
    return (
        f"| {name} | {test} | {r['sherd']:.1f} t/s | {r['peer']:.1f} t/s ({r['build']}) | "
        f"{r['ratio']:.2f} ({spread}) | {share} | {goal} | {verdict(reached)} |"
    )


def report(results, kdoc, empty, args):
    lines = [
        f"{datetime.date.today()}, {machine()}, {args.threads} threads, {args.pairs} pairs, "
        f"load {args.load:.1f} before",
        "",
        "| model | test | sherd | llama.cpp (build) | ratio (range) | weights read | goal | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        lines.append(speed_row(name, "prefill", r["prefill"], 2.0))
        lines.append(speed_row(name, "decode", r["decode"], 1.3))
        f = r["first"]
        lines.append(
            f"| {name} | one token, exec to exit | {f['sherd']:.2f} s | {f['peer']:.2f} s ({f['build']}) | "
            f"{f['ratio']:.2f} | | <= 1.0 | {verdict(f['ratio'] <= 1)} |"
        )
        m, p, goal = r["memory"], r["peer_memory"], empty + 50 * MIB
        lines.append(
            f"| {name} | PSS beyond weights and KV | {m['beyond'] / MIB:.0f} MiB | "
            f"{p['pss'] / MIB:.0f} MiB in all | | | <= {goal / MIB:.0f} MiB | "
            f"{verdict(m['beyond'] <= goal)} |"
        )
    for name, r in kdoc.items():
        for test in ("prefill", "decode"):
            t = r[test]
            lines.append(
                f"| {name} | {test} | {t['sherd']:.0f} t/s | {t['peer']:.0f} t/s "
                f"({t['build']}) | {t['ratio']:.2f} | | | |"
            )
    return "\n".join(lines) + "\n"


def small(model, args):
    """kdoc-5m: launches weigh more than bytes. Its context is 256."""
    full = args.prompt, args.gen
    args.prompt, args.gen = 128, 64
    best = fastest(args.peers, model, args)
    r = {
        test: pairs(args.sherd_runner, best[test], model, test, args)
        for test in ("prefill", "decode")
    }
    args.prompt, args.gen = full
    return r


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--sherd", type=Path, required=True)
    p.add_argument("--peer", type=Path, required=True)
    p.add_argument("--models", type=Path, nargs="+", required=True)
    p.add_argument("--small", type=Path, nargs="*", default=[])
    p.add_argument("--empty", type=int, required=True, help="PSS of an empty OpenCL program, bytes")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--reps", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--quick", action="store_true", help="few tokens: tries the scripts out")
    args = p.parse_args()
    args.prompt, args.gen = (32, 8) if args.quick else (512, 128)
    return args


def main():
    args = parse()
    args.log = []
    args.sherd_runner = Sherd(args)
    args.peers = [Peer(args, b) for b in (args.peer / "builds").read_text().split()]
    args.load = os.getloadavg()[0]
    if args.load > 0.3:
        say(f"the load is {args.load:.1f}: other work on the machine spoils the numbers")
    results = {m.stem: shape(m, args) for m in args.models}
    kdoc = {m.stem: small(m, args) for m in args.small}
    table = report(results, kdoc, args.empty, args)
    print(table)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    (args.out / f"bench-{stamp}.md").write_text(table)
    (args.out / f"bench-{stamp}.json").write_text(
        json.dumps(
            {
                "machine": machine(),
                "results": results,
                "kdoc": kdoc,
                "empty_pss": args.empty,
                "runs": args.log,
            },
            indent=1,
        )
    )


main()
