"""The tables of docs/evidence.md from what evidence.py found."""

import os
import platform
import statistics

MARK = "<!-- tables: tests/oracle/evidence/evidence.py -->"


def grid(rows, header):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


# What a program itself does otherwise than its operation is defined: program, models and weights it
# shows in, end of a checkpoint.
FINDINGS = [("onnxruntime", {"llama"}, set(), "mlp/act"),
            ("ctranslate2", {"gpt2"}, {"positive"}, "logits")]


def is_finding(case, said):
    return any(case.program == program and case.kind in kinds
               and (not weights or case.weights in weights) and said["first"].endswith(tensor)
               for program, kinds, weights, tensor in FINDINGS)


def false_alarms(results):
    return [case for case, said in results.items()
            if not case.defect and said["verdict"] == "fail" and not is_finding(case, said)]


def figure(said, view):
    ratio = (said[view] or {}).get("ratio")
    return 0 if ratio is None else ratio


def in_order(cases):
    return list(dict.fromkeys(sorted(cases)))


def verdicts(said):
    """How often each, the best alone if it is all."""
    words = [row["verdict"] for row in said]
    return ", ".join(f"{word} {words.count(word)}" for word in
                     ("pass", "untrusted", "inconclusive", "fail") if word in words)


def clean_table(results):
    clean = [case for case in results if not case.defect]
    rows = []
    for program, kind, mode, precision in in_order(
            (c.program, c.kind, c.mode, c.precision) for c in clean):
        for positions in sorted({c.positions for c in clean}):
            said = [row for c, row in results.items() if not c.defect and c.positions == positions
                    and (c.program, c.kind, c.mode, c.precision) == (program, kind, mode,
                                                                     precision)]
            if not said:
                continue
            free, local = (max(figure(row, view) for row in said) for view in ("free", "local"))
            seconds = statistics.median(row["seconds"] for row in said)
            rows.append([program, kind, mode, precision, str(positions), verdicts(said),
                         f"{free:.2f}", f"{local:.2f}", f"{seconds:.1f}"])
    return grid(rows, ["program", "model", "mode", "type", "T", "verdicts", "free-running",
                       "local", "s"])


def versions(results):
    """What a program says of itself, once for each."""
    seen = dict.fromkeys(row["subject"] for row in results.values())
    return "\n".join(f"* {subject}" for subject in sorted(seen))


def defect_table(results):
    planted = [case for case in results if case.defect]
    rows, found_all, right_all = [], 0, 0
    for key in in_order((c.program, c.kind, c.mode, c.precision) for c in planted):
        said = [row for c, row in results.items() if c.defect
                and (c.program, c.kind, c.mode, c.precision) == key]
        found = [row for row in said if row["verdict"] == "fail"]
        right = [row for row in found if row["first"] == row["due"]]
        found_all, right_all = found_all + len(found), right_all + len(right)
        rows.append([*key, *map(str, map(len, (said, found, right)))])
    share = lambda n: f"{100 * n / max(len(planted), 1):.1f} %"
    rows.append(["all", "", "", "", str(len(planted)), f"{found_all} ({share(found_all)})",
                 f"{right_all} ({share(right_all)})"])
    return grid(rows, ["program", "model", "mode", "type", "planted", "found", "first is right"])


def missed(results):
    """Defects that are not found, or elsewhere than they are."""
    rows = []
    for case in results:
        said = results[case]
        if not case.defect or (said["verdict"] == "fail" and said["first"] == said["due"]):
            continue
        got = f"`{said['first']}`" if said["verdict"] == "fail" else f"**{said['verdict']}**"
        rows.append([case.program, case.kind, case.mode, case.precision, case.defect,
                     f"`{said['due']}`", got])
    return grid(rows, ["program", "model", "mode", "type", "planted", "wrong first", "judged"])


def doubts(results):
    """Why right programs are untrusted: each reason once, with how many cases it holds in."""
    times = {}
    for case, said in results.items():
        for note in said["notes"] if not case.defect else []:
            times.setdefault((case.weights, note), []).append(case)
    return "\n".join(f"* {weights}, {len(cases)}: {note}" for (weights, note), cases in
                     sorted(times.items()))


def tables(results):
    right = [row for case, row in results.items() if not case.defect]
    honest = [row for case, row in results.items()
              if not case.defect and not (row["verdict"] == "fail" and is_finding(case, row))]
    alarms = len(false_alarms(results))
    parts = [f"Made with Python {platform.python_version()}, {os.cpu_count()} cores. {len(right)} "
             f"runs of right programs: {verdicts(right)}; {alarms} false alarms "
             f"({len(right) - len(honest)} verdicts are findings, above).", versions(results),
             "### Right programs", clean_table(results)]
    if doubts(results):
        parts += ["Why some are untrusted, and in how many runs:", doubts(results)]
    if any(case.defect for case in results):
        parts += ["### Planted defects", defect_table(results)]
        parts += ["Not found, or first elsewhere:", missed(results)]
    return "\n\n".join(parts) + "\n"


def replace_tables(path, text):
    """Everything behind the line that ends the page's own text."""
    with open(path, encoding="utf-8") as file:
        own = file.read().split(MARK)[0]
    with open(path, "w", encoding="utf-8") as file:
        file.write(own + MARK + "\n\n" + text)
