#!/usr/bin/env python3
"""What the server's way costs: the same requests by gRPC, by gRPC while metrics are scraped, and to an engine of the
command's own process, in turns. Prints a markdown table of medians over the rounds.

    bench/server_overhead.py --model models/demo --rate 20 --rounds 5
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

WAYS = ("engine", "gRPC", "gRPC, scraped")
FIELDS = ("total_p50_ms", "total_p95_ms", "first_token_p50_ms", "inter_token_p50_ms")


def start(command, ports):
    """The process, and its ports once it has written them to the file `ports`."""
    server = subprocess.Popen([*command, "--port-file", ports], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not os.path.exists(ports):
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the server did not start")
        time.sleep(0.05)
    with open(ports, encoding="utf-8") as file:
        return server, dict(line.strip().split("=") for line in file)


def start_server(args, folder):
    return start([args.server, "--model", args.model, "--dtype", args.dtype, "--pool-bytes", args.pool_bytes,
                  "--max-batch", "32", "--cross-cache", "off", "--listen", "127.0.0.1:0",
                  "--metrics-listen", "127.0.0.1:0"], os.path.join(folder, "ports"))


def scrape(port, interval_s, ended):
    while not ended.wait(interval_s):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            reply.read()


def measure(args, way, ports):
    target = (["--target", f"127.0.0.1:{ports['grpc']}"] if way != "engine"
              else ["--model", args.model, "--dtype", args.dtype, "--no-limit"])
    ended = threading.Event()
    scraper = threading.Thread(target=scrape, args=(ports["metrics"], args.scrape_interval, ended))
    if way == "gRPC, scraped":
        scraper.start()
    try:
        done = subprocess.run([args.precis, "bench", "serving", *target, "--rates", str(args.rate),
                               "--seconds", str(args.seconds)], check=True, capture_output=True, text=True,
                              env={"GOMP_SPINCOUNT": "10000", **os.environ})
    finally:
        ended.set()
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/demo", help="a checkpoint with a tokenizer")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5, help="of arrivals")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scrape-interval", type=float, default=1, help="seconds")
    parser.add_argument("--pool-bytes", default="256M")
    parser.add_argument("--server", default="build/release/server/precis-server")
    parser.add_argument("--precis", default="build/release/cli/precis")
    args = parser.parse_args()
    found = {(way, kind): [] for way in WAYS for kind in ("unloaded", "rate")}
    with tempfile.TemporaryDirectory() as folder:
        server, ports = start_server(args, folder)
        try:
            for _ in range(args.rounds):
                for way in WAYS:
                    for line in measure(args, way, ports):
                        found[way, line["kind"]].append(line)
        finally:
            server.terminate()
            server.wait()
    print("| way | load | " + " | ".join(name.replace("_", " ") for name in FIELDS) + " |")
    print("|---" * (len(FIELDS) + 2) + "|")
    for (way, kind), lines in found.items():
        load = "alone" if kind == "unloaded" else f"{args.rate:g}/s"
        medians = [statistics.median(line[name] for line in lines) for name in FIELDS]
        print(f"| {way} | {load} | " + " | ".join(f"{value:.3f}" for value in medians) + " |")


if __name__ == "__main__":
    main()
