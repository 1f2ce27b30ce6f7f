"""What the verdicts of many runs come to: confusion, F1 of each class, recall of leaks."""

from collections import Counter, defaultdict

from recipes import CLASSES, KINDS

MARK = "<!-- tables: tests/oracle/learning/learning.py -->"
UNDECIDED = ("INSUFFICIENT", "LEAK SUSPECTED")


def class_of(verdict):
    if verdict.startswith("LEAK (") or verdict == "SHIFT ERROR":
        return "leak"
    if verdict == "EVAL CONTAMINATION":
        return "contamination"
    return verdict if verdict in UNDECIDED else verdict.lower()


def f1_of(found, name):
    true = sum(r["class"] == name for r in found)
    said = sum(class_of(r["verdict"]) == name for r in found)
    both = sum(r["class"] == name == class_of(r["verdict"]) for r in found)
    return 2 * both / (true + said) if true + said else None


def macro_f1(found):
    each = [f1_of(found, name) for name in CLASSES]
    known = [value for value in each if value is not None]
    return sum(known) / len(known)


def leak_recall(found):
    leaks = [r for r in found if r["class"] == "leak"]
    return sum(class_of(r["verdict"]) == "leak" for r in leaks) / max(1, len(leaks))


def false_leaks(found):
    """Runs that got LEAK or SHIFT ERROR and do not leak, with any evidence."""
    return [r for r in found if r["class"] != "leak" and not r["measured"]["sees the future"]
            and any(class_of(v) == "leak" for v in [r["verdict"], *r["withheld"].values()])]


def healthy_without_evidence(found):
    return [r for r in found if "HEALTHY" in r["withheld"].values()]


def is_reached(found):
    return (macro_f1(found) >= 0.95 and leak_recall(found) >= 0.99 and not false_leaks(found)
            and not healthy_without_evidence(found))


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def confusion(found):
    columns = [*CLASSES, *UNDECIDED]
    counts = Counter((r["class"], class_of(r["verdict"])) for r in found)
    lines = [row("true \\ verdict", *columns, "F1"), row(*["---"] * (len(columns) + 2))]
    for name in CLASSES:
        f1 = f1_of(found, name)
        lines.append(row(name, *(counts[name, column] or "" for column in columns),
                         "" if f1 is None else f"{f1:.3f}"))
    return lines


def by_kind(found):
    lines = [row("what was built in", "runs", "of class", "right", "other verdicts", "seconds"),
             row(*["---"] * 6)]
    for kind in KINDS:
        runs = [r for r in found if r["recipe"]["kind"] == kind]
        if not runs:
            continue
        classes = Counter(r["class"] for r in runs)
        wrong = Counter(r["verdict"] for r in runs if class_of(r["verdict"]) != r["class"])
        lines.append(row(kind, len(runs), ", ".join(f"{n} {c}" for c, n in classes.most_common()),
                         len(runs) - sum(wrong.values()),
                         ", ".join(f"{n} {v}" for v, n in wrong.most_common()),
                         f"{sum(r['seconds'] for r in runs) / len(runs):.1f}"))
    return lines


def withheld(found):
    names = list(found[0]["withheld"])
    said = defaultdict(Counter)
    for r in found:
        for name in names:
            said[name][r["withheld"][name]] += 1
    verdicts = sorted({v for counts in said.values() for v in counts})
    lines = [row("given", *verdicts), row(*["---"] * (len(verdicts) + 1))]
    lines += [row(name, *(said[name][v] or "" for v in verdicts)) for name in names]
    return lines


def tables(found, versions):
    leaks = sum(r["class"] == "leak" for r in found)
    return "\n".join([
        f"{len(found)} runs; {versions}. Macro-F1 {macro_f1(found):.4f}; recall of leaks "
        f"{leak_recall(found):.4f} of {leaks}; LEAK of runs without one: "
        f"{len(false_leaks(found))}; HEALTHY with evidence withheld: "
        f"{len(healthy_without_evidence(found))}.", "",
        *confusion(found), "", *by_kind(found), "", *withheld(found), ""])


def put_into(path, text):
    head = path.read_text().split(MARK)[0]
    path.write_text(f"{head}{MARK}\n\n{text}")
