#!/usr/bin/env python3
"""Makes OUT/gpu-check.json and OUT/gpu-check.md of what scripts/gpu-check.sh left in OUT, and
judges it.

A part passes if it ended with 0 and its own report says how much passed and that nothing else
happened. Whatever is missing, ran out of time, or says nothing, has not passed. compute-sanitizer
may be absent and the bench may be skipped (--quick): both are named. A target that is missed is
told and fails nothing. Exit codes: 0 all passed, 1 not, 77 no CUDA device.
"""
import datetime
import json
import pathlib
import sys

CHECKS = ["device-check", "kernels-check"]
SANITIZERS = ["sanitizer-memcheck-llama-gqa", "sanitizer-racecheck-llama-gqa",
              "sanitizer-synccheck-llama-gqa",
              "sanitizer-memcheck-wide", "sanitizer-racecheck-wide"]
BENCHES = ["bench-author", "bench-train", "bench-gemms", "bench-plain", "bench-longest",
           "bench-wide"]
PARTS = ["configure", "build"] + CHECKS + ["simt-collectives", "simt-mma"] + BENCHES + SANITIZERS
FAULTS = {"3": "inconclusive: nothing checked, refused or absent; or no PyTorch",
          "124": "out of time", "137": "out of time, killed",
          "86": "compute-sanitizer found errors", "77": "no CUDA device",
          "127": "not found: the build failed?"}


def load(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def last_lines(path, count=3):
    try:
        return " / ".join(path.read_text(encoding="utf-8",
                                         errors="replace").strip().splitlines()[-count:])[:400]
    except OSError:
        return ""


def judge_counts(result, report):
    """Of device_check and kernels_check."""
    if report is None:
        return "no report"
    result.update({key: report.get(key, 0) for key in ("passed", "failed", "inconclusive")})
    result["absent_methods"] = report.get("absent_methods", [])
    if result["passed"] < 1:
        return "nothing passed"
    if result["failed"] or result["inconclusive"] or report.get("exit_code") != 0:
        return "its report says otherwise"
    return ""


def judge_bench(result, report):
    if report is None or report.get("status") != "ok":
        return "no report" if report is None else report.get("fault") or "its report says otherwise"
    result.update({"rows": report["rows"], "agreements": report["agreements"],
                   "absent": report["absent"], "torch": report["torch"]})
    if report.get("small"):
        return "a run on the CPU, whose figures say nothing"
    return "" if report["rows"] and report["agreements"] else "nothing was measured"


def judge(part, line, out):
    """{"part", "status": passed | failed | absent | skipped | no device, "why", ..}"""
    if line is None:
        return {"part": part, "status": "failed", "why": "never ran"}
    result = {"part": part, "seconds": line["seconds"], "why": ""}
    code = line["code"]
    may_be = {"absent": SANITIZERS, "skipped": BENCHES}
    if part in may_be.get(code, []):
        return {**result, "status": code, "why": "no compute-sanitizer" if code == "absent"
                else "--quick"}
    report = load(out / f"{part}.json")
    if part in CHECKS + SANITIZERS:
        why = judge_counts(result, report)
    elif part in BENCHES:
        why = judge_bench(result, report)
    else:
        why = ""
    if code != "0":
        why = f"exit code {code}: {FAULTS.get(code, 'failed')}: {last_lines(out / f'{part}.log')}"
    status = "failed" if why else "passed"
    return {**result, "status": "no device" if code == "77" else status, "why": why}


def figure(value):
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def table(results):
    lines = ["| what | ours | peer | unit | ratio | target | met |",
             "|---|---|---|---|---|---|---|"]
    for result in results:
        for row in result.get("rows", []):
            met = {True: "yes", False: "NO", None: "-"}[row["met"]]
            lines.append(f"| {row['name']} | {figure(row['ours'])} | {figure(row['peer'])} | "
                         f"{row['unit']} | "
                         f"{figure(row['ratio'])} | {figure(row['target'])} | {met} |")
    return lines if len(lines) > 2 else ["No figures."]


def markdown(summary):
    lines = ["# GPU check", "", f"**{summary['verdict']}**", ""]
    lines += [f"* {key}: {summary[key]}" for key in ("device", "cuda", "commit", "date", "parts",
                                                     "targets", "absent")]
    lines += ["", "| part | status | passed | failed | inconclusive | s | why |",
              "|---|---|---|---|---|---|---|"]
    for result in summary["results"]:
        counts = " | ".join(figure(result.get(key)) for key in ("passed", "failed", "inconclusive"))
        why = result["why"].replace("|", "/").replace("\n", " ")
        lines.append(f"| {result['part']} | {result['status']} | {counts} | "
                     f"{figure(result.get('seconds'))} | {why} |")
    return "\n".join(lines + ["", "## Figures", ""] + table(summary["results"]) + [""])


def absent_of(results):
    names = [f"{result['part']} ({result['why']})" for result in results
             if result["status"] in ("absent", "skipped")]
    methods = {method for result in results if result["part"] == "device-check"
               for method in result.get("absent_methods", [])}
    peers = [f"{peer['name']} ({peer['why']})" for result in results
             for peer in result.get("absent", [])]
    return names + [f"method {method} (no case)" for method in sorted(methods)] + peers


def targets_of(results):
    met = [row["met"] for result in results for row in result.get("rows", [])
           if row["met"] is not None]
    return f"{sum(met)} of {len(met)} met"


def exit_code(results):
    if any(result["status"] == "no device" for result in results):
        return 77
    return 0 if all(result["status"] in ("passed", "absent", "skipped")
                    for result in results) else 1


def text_of(out, name):
    return last_lines(out / name, 1) or "unknown"


def main():
    out = pathlib.Path(sys.argv[1])
    lines = [json.loads(line)
             for line in (out / "parts.jsonl").read_text(encoding="utf-8").splitlines()]
    by_part = {line["part"]: line for line in lines}
    results = [judge(part, by_part.get(part), out) for part in PARTS]
    code = exit_code(results)
    counts = {status: sum(result["status"] == status for result in results)
              for status in ("passed", "failed", "no device", "absent", "skipped")}
    summary = {"assay_gpu_check": 1, "exit_code": code,
               "verdict": {0: "all passed", 1: "NOT passed",
                           77: "NOT passed: no CUDA device"}[code],
               "device": text_of(out, "device.log"), "cuda": text_of(out, "cuda.log"),
               "commit": text_of(out, "commit.log"),
               "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
               "parts": ", ".join(f"{count} {status}" for status, count in counts.items()),
               "targets": targets_of(results), "absent": "; ".join(absent_of(results)) or "nothing",
               "results": results}
    (out / "gpu-check.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (out / "gpu-check.md").write_text(markdown(summary), encoding="utf-8")
    print(markdown(summary))
    return code


if __name__ == "__main__":
    sys.exit(main())
