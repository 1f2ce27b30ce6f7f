"""`assay serve-sim`: what is rejected and what is an error, numbers of the report, checks.

usage: serve_test.py ASSAY
"""

import contextlib
import json
import os
import pty
import random
import signal
import subprocess

from runs import AZURE, close, lines, run_all


def test_bad_options(runs):
    trace = runs.write("azure.csv", AZURE)
    for options, words in [(["--check", "0"], "--check 0: expected all, or a number"),
                           (["--check", "some"], "--check some: expected all"),
                           (["--clock", "sun"], "--clock sun: expected simulated or wall"),
                           (["--backend", "gpu"], "expected reference, simt or cuda"),
                           (["--backend", "reference:up"], "expected reference or reference:left"),
                           (["--precision", "bf16"], "the reference computes in fp64"),
                           (["--max-wait-ms", "-1"], "--max-wait-ms -1: expected a number >= 0"),
                           (["--max-wait-ms", "nan"], "--max-wait-ms nan: expected a number >= 0"),
                           (["--rate", "0"], "--rate 0: expected a number > 0"),
                           (["--speed", "-2"], "--speed -2: expected a number > 0"),
                           (["--shrink", "0"], "--shrink 0: expected a whole number of at least 1"),
                           (["--batch", "0"], "--batch 0"),
                           (["--cache-blocks", "0"], "--cache-blocks 0: expected"),
                           (["--time-unit", "h"], "--time-unit h: expected s, ms, us or ns"),
                           (["--speed", "1e-300"], "give a larger --speed"),
                           (["--rate", "1e-320"], "give a larger --rate"),
                           (["--method", "pt"], "expected causal_heads"),
                           (["--json", trace], trace)]:
        runs.command.expect(2, words, "serve-sim", "--trace", trace, *options)


def test_rejected(runs):
    """Each for what is wrong with it; the others get what they get without them."""
    good = [{"id": f"g{i}", "arrival_s": 0.01 * i, "tokens": [i, i + 1], "max_new_tokens": 5}
            for i in range(6)]
    bad = [({"id": "g1", "tokens": [3], "max_new_tokens": 1}, "there is one of that id"),
           ({"id": "b0", "tokens": [], "max_new_tokens": 1}, "tokens: expected at least 1"),
           ({"id": "b1", "tokens": [64], "max_new_tokens": 1}, "tokens at 0: expected 0 .. 63"),
           ({"id": "b2", "tokens": [-1], "max_new_tokens": 1}, "tokens at 0: expected 0 .. 63"),
           ({"id": "b3", "tokens": [1], "max_new_tokens": 64}, "at most 64 positions"),
           ({"id": "b4", "prompt_tokens": 10 ** 15, "max_new_tokens": 2},
            "got 1000000000000000 of the prompt and 2 new"),
           ({"id": "b5", "tokens": [1], "max_new_tokens": 10 ** 15}, "at most 64 positions"),
           ({"id": "b6", "tokens": [1], "max_new_tokens": 0}, "max_new_tokens: expected at least"),
           ({"id": "", "tokens": [1], "max_new_tokens": 1}, None),  # is given a name
           ({"id": "#14", "tokens": [1], "max_new_tokens": 1}, None),  # of one that comes behind
           ({"id": "b8", "tokens": [1, 10 ** 12], "max_new_tokens": 1},
            "tokens: expected 0 .. 63, got 1000000000000"),
           ({"id": "b7", "tokens": [1], "max_new_tokens": 1, "stop_token": 99}, "stop_token")] + [
               ({"tokens": [1], "max_new_tokens": 1}, None) for _ in range(4)]
    alone = runs.report(runs.write("good.jsonl", lines(good)))
    rows = good + [dict(row, arrival_s=0.03) for row, _ in bad]
    report = runs.report(runs.write("mixed.jsonl", lines(rows)), "--check", "all")
    for before, after in zip(alone["requests"], report["requests"]):
        assert before["tokens"] == after["tokens"], (before, after)
    for (_, words), request in zip(bad, report["requests"][len(good):]):
        if words is None:
            assert request["end"] == "length", request
        else:
            assert request["end"] == "rejected" and words in request["why"], request
    assert report["totals"]["finished"] == 12 and report["totals"]["rejected"] == 10
    only_bad = runs.write("bad.jsonl", lines([row for row, words in bad[1:8] if words]))
    assert runs.report(only_bad, code=3)["verdict"] == "inconclusive"


def test_stops_and_cancellation(runs):
    row = {"id": "a", "arrival_s": 0, "tokens": [1, 2], "max_new_tokens": 20}
    tokens = runs.report(runs.write("a.jsonl", lines([row])))["requests"][0]["tokens"]
    stopped = runs.report(runs.write("a.jsonl", lines([dict(row, stop_token=tokens[3])])))
    request = stopped["requests"][0]
    assert request["end"] == "stop", request
    assert request["tokens"] == tokens[:tokens.index(tokens[3]) + 1], request
    # 10 ms of waiting, then steps of 5.1 and 5.2 ms: 4 are over when it is cancelled.
    cancelled = runs.report(runs.write("a.jsonl", lines([dict(row, cancel_s=0.0305)])), code=3)
    assert cancelled["requests"][0]["end"] == "cancelled"
    assert cancelled["requests"][0]["tokens"] == tokens[:4], cancelled["requests"][0]
    early = runs.report(runs.write("a.jsonl", lines([
        dict(row, id="b"), dict(row, arrival_s=5, cancel_s=1)])))  # before it comes
    assert [r["end"] for r in early["requests"]] == ["length", "cancelled"], early["requests"]
    never = runs.report(runs.write("a.jsonl", lines([dict(row, cancel_s=1e300)])))
    assert never["totals"]["elapsed_s"] < 1, never["totals"]
    waiting = runs.report(runs.write("a.jsonl", lines([dict(row, cancel_s=0.001)])), code=3)
    assert waiting["requests"][0]["tokens"] == [] and waiting["totals"]["steps"] == 0


def test_numbers(runs):
    """Two requests by hand: a batch of 2 starts when it is full."""
    rows = [{"id": "a", "arrival_s": 0, "tokens": [1, 2, 3], "max_new_tokens": 3},
            {"id": "b", "arrival_s": 0.004, "tokens": [4], "max_new_tokens": 2}]
    trace = runs.write("two.jsonl", lines(rows))
    report = runs.report(trace, "--batch", "2", "--step-ms", "10", "--token-ms", "1")
    # starts at 4 ms; steps of 14, 12 and 11 ms end at 18, 30 and 41 ms.
    a, b = report["requests"]
    assert close(a["wait_s"], 0.004) and close(b["wait_s"], 0)
    assert close(a["first_token_s"], 0.018) and close(b["first_token_s"], 0.014)
    assert close(a["total_s"], 0.041) and close(b["total_s"], 0.026)
    assert close(report["latency"]["per token"]["p50_s"], 0.012)
    assert close(report["latency"]["time to first token"]["p99_s"], 0.018)
    totals = report["totals"]
    assert totals["steps"] == 3 and close(totals["batch_size"]["mean"], 5 / 3)
    assert totals["prompt_tokens"] == 4 and totals["new_tokens"] == 5
    assert close(totals["busy_s"], 0.037)
    assert close(totals["new_tokens_per_second"], 5 / 0.037)
    assert close(totals["wait_s"]["mean"], 0.002)


def test_traffic(runs):
    """Many requests, few blocks: the same tokens whatever batch, chunk, filling and back end."""
    draw = random.Random(3)
    rows = [{"id": f"r{i}", "arrival_s": 0.002 * i, "prompt_tokens": draw.randint(1, 40),
             "max_new_tokens": draw.randint(1, 9)} for i in range(60)]
    trace = runs.write("many.jsonl", lines(rows))
    tokens = None
    for options in (["--batch", "1"], ["--batch", "7", "--check", "all"],
                    ["--batch", "4", "--prefill-chunk", "5", "--cache-blocks", "9",
                     "--block-size", "8", "--overtaking", "2", "--check", "12"],
                    ["--backend", "reference:left", "--check", "all"]):
        report = runs.report(trace, *options)
        got = [request["tokens"] for request in report["requests"]]
        tokens = tokens or got
        assert got == tokens, options
        assert report["totals"]["finished"] == 60, options
        bound = 2 if "2" in options else 8
        assert max(request["overtaken"] for request in report["requests"]) <= bound, options
    simt = runs.report(trace, "--backend", "simt", "--precision", "fp64", "--requests", "8",
                       "--check", "all")
    assert len(simt["requests"]) == 8
    wall = runs.report(trace, "--clock", "wall", "--rate", "1000", "--requests", "20")
    assert wall["totals"]["busy_s"] > 0 and wall["totals"]["finished"] == 20
    assert [request["tokens"] for request in wall["requests"]] == tokens[:20]


def test_prefixes(runs):
    """Prompts that begin alike: less is read, and the tokens are the same."""
    head = [7, 3, 9, 12, 40, 2, 2, 31]
    rows = [{"id": f"r{i}", "arrival_s": 0.01 * i, "tokens": head + [i, i % 3, 5],
             "max_new_tokens": 8} for i in range(9)]
    trace = runs.write("alike.jsonl", lines(rows))
    for backend in ("reference", "simt"):
        plain = runs.report(trace, "--backend", backend)
        shared = runs.report(trace, "--backend", backend, "--share-prefix", "4", "--check", "all")
        assert [r["tokens"] for r in plain["requests"]] == [r["tokens"] for r in shared["requests"]]
        assert plain["totals"]["shared_tokens"] == 0 and plain["totals"]["prompt_tokens"] == 99
        assert shared["totals"]["shared_tokens"] >= 4 * 8, shared["totals"]
        total = shared["totals"]["shared_tokens"] + shared["totals"]["prompt_tokens"]
        assert total == 99, shared["totals"]
    none = runs.report(trace, "--share-prefix", "11", "--check", "all")
    assert none["totals"]["shared_tokens"] == 0, none["totals"]


def test_pipes_and_signals(runs):
    program = runs.command.path
    piped = subprocess.run([program, "serve-sim", "--trace", "-"], input=AZURE.encode(),
                           capture_output=True, check=False)
    assert piped.returncode == 0 and b"3 finished" in piped.stdout, piped
    device = subprocess.run([program, "serve-sim", "--trace", "/dev/stdin"], input=AZURE.encode(),
                            capture_output=True, check=False)
    assert device.returncode == 0 and b"3 finished" in device.stdout, device
    closed = subprocess.run([program, "serve-sim", "--trace", "-"], input=b"",
                            capture_output=True, check=False)
    assert closed.returncode == 2 and b"standard input: empty" in closed.stderr, closed
    rows = [{"prompt_tokens": 20, "max_new_tokens": 30, "arrival_s": i} for i in range(100000)]
    trace, out = runs.write("long.jsonl", lines(rows)), runs.folder / "stopped.json"
    terminal, other = pty.openpty()  # where a bar is drawn while it runs
    with subprocess.Popen([program, "serve-sim", "--trace", trace, "--json", str(out)],
                          stdout=subprocess.DEVNULL, stderr=other) as child:
        os.close(other)
        assert b"requests" in os.read(terminal, 1000)
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # what Linux says where nobody writes any more
            while os.read(terminal, 1000):
                pass
    os.close(terminal)
    assert child.returncode == 130, child.returncode
    report = json.loads(out.read_text())
    assert report["totals"]["cancelled"] <= 1 and report["totals"]["rejected"] > 0, report["totals"]
    assert report["checks"][0]["status"] == "pass", report["checks"]


def test_blocks(runs):
    """The engine's cache in blocks: beginnings take room once, and the tokens are the same."""
    head = [7, 3, 9, 12, 40, 2, 2, 31, 5]
    rows = [{"id": f"r{i}", "arrival_s": 0.01 * i, "tokens": head + [i, i % 3],
             "max_new_tokens": 8} for i in range(9)]
    trace = runs.write("blocks.jsonl", lines(rows))
    flat = runs.report(trace, "--backend", "simt", "--batch", "4")
    used = {}
    for share in ("0", "4"):
        got = runs.report(trace, "--backend", "simt", "--batch", "4", "--cache-blocks", "30",
                          "--block-size", "4", "--share-prefix", share, "--check", "all",
                          "--method", "plain", parts=["serving: blocks"])
        assert [r["tokens"] for r in got["requests"]] == [r["tokens"] for r in flat["requests"]]
        used[share] = got["totals"]["blocks"]
    assert used["0"]["shared"] == 0 and used["4"]["shared"] == 21 and used["4"]["copied"] == 7
    assert used["4"]["most_used"] < used["0"]["most_used"], used
    # Room for two that share nothing, or for three with one beginning.
    few = ["--backend", "simt:block=4:blocks=11", "--batch", "4", "--check", "all",
           "--max-wait-ms", "0"]
    alone = runs.report(trace, *few)
    shared = runs.report(trace, *few, "--share-prefix", "4")
    for got in (alone, shared):
        assert got["totals"]["finished"] == 9 and got["totals"]["blocks"]["most_used"] <= 11
        assert [r["tokens"] for r in got["requests"]] == [r["tokens"] for r in flat["requests"]]
    assert alone["totals"]["batch_size"]["largest"] == 2, alone["totals"]
    assert shared["totals"]["batch_size"]["largest"] >= 3, shared["totals"]
    runs.command.expect(2, ["--cache-blocks beside --backend simt:block=4"], "serve-sim", "--trace",
                        trace, "--backend", "simt:block=4", "--cache-blocks", "9")


def test_reports(runs):
    trace = runs.write("azure.csv", AZURE)
    page, junit = runs.folder / "page.html", runs.folder / "junit.xml"
    runs.command.expect(0, ["time to first token", "p99", "per token"], "serve-sim",
                        "--trace", trace, "--report", str(page), "--junit", str(junit))
    text = page.read_text()
    assert text.count("<figcaption>") == 4 and "Requests in a step" in text, text[:200]
    assert "serving: requests" in junit.read_text()
    said = runs.command.expect(0, [], "serve-sim", "--trace", trace, "--quiet")
    assert said == "", said


if __name__ == "__main__":
    run_all(globals())
