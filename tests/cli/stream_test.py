"""`assay stream`: the loss is that of a whole pass, wherever tokens come from and however they are
cut; what is wrong is said, and what came before it is reported.

usage: stream_test.py ASSAY
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from command import Command  # noqa: E402

ASSAY = Command(sys.argv[1])
CONFIG = {"model_type": "llama", "hidden_size": 12, "intermediate_size": 20,
          "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
          "vocab_size": 300, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048,
          "tie_word_embeddings": False, "rope_theta": 10000.0}


def report(folder, *options, stdin=None, code=0):
    """The JSON of a stream; stdin is what is piped into it."""
    path = os.path.join(folder, "stream.json")
    done = subprocess.run([ASSAY.path, "stream", *options, "--json", path, "--quiet"],
                          input=stdin, capture_output=True, check=False)
    if done.returncode != code:
        ASSAY.fail(f"stream {options}: expected exit code {code}, got {done.returncode}: "
                   f"{done.stderr.decode()}")
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def whole_loss(folder, tokens, *options):
    said = ASSAY.expect(0, "loss", "generate", "--tokens", tokens, "--capture", "hash", "--force",
                        "--out", os.path.join(folder, "whole.h5"), *options)
    return float(re.search(r"loss ([\d.]+)", said).group(1))


def check_losses(folder, config, text, data):
    for options in (["--method", "plain", "--window", "7"],
                    ["--method", "1", "--window", "5", "--sink-tokens", "2"],
                    ["--method", "5.1", "--window", "9"],
                    ["--method", "5.1B", "--window", "9", "--score-positions", "200"],
                    ["--method", "2", "--window", "4", "--full-layers", "1"],
                    ["--method", "4.2"]):
        model = ["--config", config, *options]
        whole = whole_loss(folder, text, "--seq", str(len(data)), *model)
        ends = [] if "--window" in options and "--full-layers" not in options else [
            "--capacity", str(len(data))]
        found = set()
        for chunk in ("1", "8", "13"):
            more = ends or ["--capacity", "16"]
            got = report(folder, *model, *more, "--tokens", text, "--chunk", chunk)
            found.add(got.get("loss_nats"))
            cache = got.get("cache", {"held": 1, "capacity": 0})
            if got.get("predictions") != len(data) - 1 or cache["held"] > cache["capacity"]:
                ASSAY.fail(f"{options}: {got}")
        found.add(report(folder, *model, *(ends or ["--capacity", "16"]), "--chunk", "3",
                         "--tokens", "-", stdin=data).get("loss_nats"))
        if len(found) != 1 or None in found or abs(found.pop() - whole) > 1e-6:
            ASSAY.fail(f"{options}: expected one loss, {whole}, got {found}")


def check_formats(folder, config, data):
    """The same tokens in other clothes."""
    model = ["--config", config, "--window", "6"]
    losses = set()
    numbers = " ".join(str(byte) for byte in data)
    for name, content in {"a.bin": b"".join(bytes([byte, 0]) for byte in data),
                          "a.txt": numbers.encode(),
                          "a.json": json.dumps(list(data)).encode(),
                          "a.jsonl": f"{list(data[:9])}\n{list(data[9:])}\n".encode()}.items():
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        how = ["--tokens-format", "uint16"] if name.endswith(".bin") else []
        losses.add(report(folder, *model, "--tokens", path, *how).get("loss_nats"))
        kind = {"bin": "uint16", "txt": "numbers"}.get(name[2:], name[2:])
        losses.add(report(folder, *model, "--tokens", "-", "--tokens-format", kind,
                          stdin=content).get("loss_nats"))
    for name, content in {"mark.txt": b"\xef\xbb\xbf" + numbers.encode(),
                          "mark.list": b"\xef\xbb\xbf" + json.dumps(list(data)).encode(),
                          "returns.txt": numbers.replace(" ", "\r\n").encode()}.items():
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        losses.add(report(folder, *model, "--tokens", path).get("loss_nats"))
    if len(losses) != 1:
        ASSAY.fail(f"formats: expected one loss, got {losses}")


def check_faults(folder, config, text):
    model = ["stream", "--config", config]
    ASSAY.expect(2, "longest sequence", *model, "--tokens", text)
    ASSAY.expect(2, "at least the window, 9 positions, got 8", *model, "--tokens", text,
                 "--window", "9", "--capacity", "8", "--chunk", "4")
    ASSAY.expect(2, "chunk: expected at most the capacity, 10 positions, got 11", *model,
                 "--tokens", text, "--window", "9", "--capacity", "10", "--chunk", "11")
    ASSAY.expect(2, ["32 tokens", "evicted", "at most 32 positions",
                     "score_positions of method 5.1A"],
                 *model, "--tokens", text, "--window", "4", "--chunk", "8", "--method", "5.1A",
                 "--score-positions", "32")
    ASSAY.expect(2, ["40 tokens", "the cache ends: expected at most 40 positions"], *model,
                 "--tokens", text, "--capacity", "40", "--chunk", "8")
    ASSAY.expect(2, "expected causal_heads", *model, "--tokens", text, "--method", "pt",
                 "--capacity", "200")
    ASSAY.expect(2, "--tokens", *model, "--window", "4")
    ASSAY.expect(2, "--chunk 0: expected at least 1", *model, "--tokens", text, "--window", "4",
                 "--chunk", "0")
    bad = os.path.join(folder, "bad.txt")
    with open(bad, "w", encoding="utf-8") as file:
        file.write("1 2 3 4 300 5")
    ASSAY.expect(2, ["4 tokens", "3 predictions", "token 4: expected a token in 0 .. 299, got 300"],
                 *model, "--tokens", bad, "--window", "4")
    got = report(folder, "--config", config, "--tokens", bad, "--window", "4", code=2)
    if got and (got["tokens"] != 4 or "got 300" not in got["fault"]):
        ASSAY.fail(f"fault in the report: {got}")
    done = subprocess.run([ASSAY.path, *model, "--window", "4", "--tokens", "-"], input=b"",
                          capture_output=True, check=False)
    if done.returncode != 2 or b"standard input: empty" not in done.stderr:
        ASSAY.fail(f"empty standard input: {done}")
    ASSAY.expect(2, "", *model, "--tokens", text, "--window", "4", "--json", text)
    # What was computed is told, whatever becomes of the file.
    ASSAY.expect(2, ["150 tokens", "149 predictions", "/dev/full: cannot be written"], *model,
                 "--tokens", text, "--window", "4", "--json", "/dev/full")
    for content, words in {"7": "no loss: a single token", "0" * 60 + "5": "a whole number",
                           "9" * 25: "expected a token in 0 .. 299"}.items():
        with open(bad, "w", encoding="utf-8") as file:
            file.write(content)
        ASSAY.expect(0 if content == "7" else 2, words, *model, "--tokens", bad, "--window", "4",
                     "--tokens-format", "numbers")


def check_signals(folder, config):
    """Who stops a stream gets what there is so far, also where nothing comes any more."""
    path = os.path.join(folder, "stopped.json")
    for number, lines in ((signal.SIGINT, 1), (signal.SIGTERM, 199)):  # in the midst, and idle
        command = [ASSAY.path, "stream", "--config", config, "--window", "4", "--tokens", "-",
                   "--tokens-format", "text", "--every", "1000", "--json", path, "--force"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as child:
            child.stdin.write(b"abcd" * 50000)
            child.stdin.flush()
            for _ in range(lines):  # each of 1000 tokens
                child.stdout.readline()
            child.send_signal(number)
            said = child.stdout.read().decode()
        if child.returncode != 128 + number or "tokens/s" not in said:
            ASSAY.fail(f"{number}: expected results and {128 + number}, got {child.returncode}: "
                       f"{said}")
            continue
        with open(path, encoding="utf-8") as file:
            got = json.load(file)
        if f"stopped by signal {number}" not in got["fault"] or got["tokens"] < 1000:
            ASSAY.fail(f"{number}: {got}")


def check_subject(folder, config, text):
    """An engine in fp32 decodes nearly the same loss."""
    options = ["--config", config, "--window", "6", "--tokens", text, "--most", "40"]
    ours = report(folder, *options)["loss_nats"]
    theirs = report(folder, *options, "--subject", "simt", "--capacity", "64")["loss_nats"]
    if not abs(ours - theirs) < 1e-4:
        ASSAY.fail(f"simt: expected {ours}, got {theirs}")
    ring = report(folder, *options, "--subject", "simt")
    if ring["loss_nats"] != theirs or ring["cache"]["capacity"] > 128:
        ASSAY.fail(f"simt, a ring: {ring}")
    everywhere = ["--config", config, "--tokens", text, "--subject"]
    ASSAY.expect(2, "its cache keeps every position: expected --capacity", "stream", *everywhere,
                 "simt")
    ASSAY.expect(2, ["20 tokens", "capacity"], "stream", *everywhere, "simt", "--capacity", "20")


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "config.json")
        with open(config, "w", encoding="utf-8") as file:
            json.dump(CONFIG, file)
        data = bytes((i * i * 7 + i) % 96 + 32 for i in range(150))
        text = os.path.join(folder, "text.data")
        with open(text, "wb") as file:
            file.write(data)
        check_losses(folder, config, text, data)
        check_formats(folder, config, data)
        check_faults(folder, config, text)
        check_subject(folder, config, text)
        check_signals(folder, config)
    sys.exit(1 if ASSAY.failures else 0)


if __name__ == "__main__":
    main()
