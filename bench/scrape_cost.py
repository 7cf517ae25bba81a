#!/usr/bin/env python3
"""What a scrape of /metrics costs: its size and time, the processor time of the server's threads that answer it, idle and
under a load, and what the load notices of it. Rounds go in turns; prints two markdown tables.

    bench/scrape_cost.py --model models/demo --rate 20 --rounds 3
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

from server_overhead import start_server

# Source and new tokens; few, for each is measured alone first.
TRACE = "40,12\n80,16\n160,24\n320,32\n"
FIELDS = ("total_p50_ms", "total_p95_ms", "inter_token_p50_ms")


class Scraper:
    """Scrapes `port` and times it; alone in a thread with `every`."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.seconds = []
        self.text = ""

    def once(self):
        begin = time.perf_counter()
        with urllib.request.urlopen(self.url) as reply:
            self.text = reply.read().decode()
        self.seconds.append(time.perf_counter() - begin)

    def every(self, interval_s, ended):
        while not ended.wait(interval_s):
            self.once()


def cpu_seconds(pid, names):
    """Of the process's threads whose name begins with one of `names`."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as file:
                name = file.read()
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as file:
                spent = int(file.read().split()[0])
        except FileNotFoundError:
            continue  # it has just ended
        if name.startswith(names):
            total += spent
    return total / 1e9


def row(name, scraper, cpu):
    count = len(scraper.seconds)
    times = sorted(scraper.seconds)
    cells = [name, count, f"{1e3 * statistics.median(times):.2f}", f"{1e3 * times[int(0.95 * count)]:.2f}",
             f"{1e6 * cpu / count:.0f}", f"{100 * cpu / count:.3f} %"]
    return "| " + " | ".join(map(str, cells)) + " |"


def idle(args, pid, ports):
    scraper = Scraper(ports["metrics"])
    scraper.once()  # connects, and touches everything once
    scraper.seconds.clear()
    before = cpu_seconds(pid, args.thread)
    for _ in range(args.scrapes):
        scraper.once()
    return scraper, cpu_seconds(pid, args.thread) - before


def loaded(args, pid, ports, trace, interval_s):
    """The load's figures, the scraper, and its threads' time; `interval_s` 0 does not scrape."""
    scraper, ended = Scraper(ports["metrics"]), threading.Event()
    thread = threading.Thread(target=scraper.every, args=(interval_s, ended))
    before = cpu_seconds(pid, args.thread)
    if interval_s:
        thread.start()
    try:
        done = subprocess.run(
            [args.precis, "bench", "serving", "--target", f"127.0.0.1:{ports['grpc']}", "--rates", str(args.rate),
             "--seconds", str(args.seconds), "--trace", trace], check=True, capture_output=True, text=True)
    finally:
        ended.set()
        if interval_s:
            thread.join()
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    figures = next(line for line in figures if line["kind"] == "rate")
    return figures, scraper, cpu_seconds(pid, args.thread) - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/demo", help="a checkpoint with a tokenizer")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5, help="of arrivals")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scrapes", type=int, default=200, help="without a load, one after another")
    parser.add_argument("--intervals", type=float, nargs="+", default=[0, 1, 0.1], help="seconds; 0: no scrapes")
    parser.add_argument("--thread", default="precis-http", help="how the names of the threads that answer begin")
    parser.add_argument("--pool-bytes", default="256M")
    parser.add_argument("--server", default="build/release/server/precis-server")
    parser.add_argument("--precis", default="build/release/cli/precis")
    args = parser.parse_args()
    found = {interval: ([], Scraper(0), [0.0]) for interval in args.intervals}
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace")
        with open(trace, "w", encoding="utf-8") as file:
            file.write(TRACE)
        server, ports = start_server(args, folder)
        try:
            alone, alone_cpu = idle(args, server.pid, ports)
            for _ in range(args.rounds):
                for interval, (lines, all_of_them, cpu) in found.items():
                    figures, scraper, spent = loaded(args, server.pid, ports, trace, interval)
                    lines.append(figures)
                    all_of_them.seconds += scraper.seconds
                    cpu[0] += spent
        finally:
            server.terminate()
            server.wait()
    if not alone_cpu:
        raise SystemExit(f"no thread's name begins with {args.thread}")
    series = sum(not line.startswith("#") for line in alone.text.splitlines())
    print(f"{len(alone.text)} bytes, {series} series\n")
    print("| while | scrapes | p50 ms | p95 ms | CPU us a scrape | of one core at one scrape a second |")
    print("|---" * 6 + "|")
    print(row("idle", alone, alone_cpu))
    for interval, (_, scraper, cpu) in found.items():
        if interval:
            print(row(f"load of {args.rate:g}/s, every {interval:g} s", scraper, cpu[0]))
    print("\n| load of {:g}/s, scraped | ".format(args.rate) + " | ".join(name.replace("_", " ") for name in FIELDS) + " |")
    print("|---" * (len(FIELDS) + 1) + "|")
    for interval, (lines, _, _) in found.items():
        medians = [statistics.median(line[name] for line in lines) for name in FIELDS]
        print(f"| {f'every {interval:g} s' if interval else 'never'} | " + " | ".join(f"{v:.2f}" for v in medians) + " |")


if __name__ == "__main__":
    main()
