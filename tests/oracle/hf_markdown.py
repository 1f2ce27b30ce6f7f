"""The tables of docs/peers.md from what hf_table.py found."""

import statistics

MARK = "<!-- tables: tests/oracle/hf_table.py -->"


def figure(ratio):
    if ratio is None:
        return "inf"
    return f"{ratio:.2g}" if ratio < 1000 else f"{ratio:.0e}"


def false_alarms(results):
    """Right models that fail. An untrusted one is none: the data cannot show everything."""
    right = [case for case, said in results.items() if said["harmless"]]
    return [case for case in right if results[case]["verdict"] == "fail"]


def grid(rows, header):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def found(said):
    """The verdict on a defect, bold where it is not found."""
    if said["verdict"] != "fail":
        return f"**{said['verdict']}**"
    slope = " (slope)" if said["views"] == "slope" else ""
    return f"`{said['first']}`{slope}"


def at_every_length(cases, results):
    """One word where all lengths agree, else the lengths of each."""
    words = {}
    for case in cases:
        words.setdefault(found(results[case]), []).append(str(case.positions))
    if len(words) == 1:
        return next(iter(words))
    return ", ".join(f"{word} at {' '.join(lengths)}" for word, lengths in words.items())


def clean_table(results, defects):
    """One line for each model, weights, type and attention; a column for each length."""
    clean = [case for case in results if not case.defect]
    lengths = sorted({case.positions for case in clean})
    rows = []
    for row in dict.fromkeys(case._replace(positions=0) for case in clean):
        cells = []
        cases = [row._replace(positions=length) for length in lengths]
        for case in cases:
            said = results.get(case)
            ratios = [figure(said[view]["ratio"]) for view in ("free", "local")] if said else []
            cells.append(f"{said['verdict']} {' / '.join(ratios)}" if said else "")
        for defect in defects:
            planted = [case._replace(defect=defect) for case in cases]
            cells.append(at_every_length([case for case in planted if case in results], results))
        rows.append([row.kind, row.weights, row.precision, row.attention, *cells])
    header = ["model", "weights", "type", "attention", *(f"T = {n}" for n in lengths), *defects]
    return grid(rows, header)


def defect_table(results, kind, weights):
    """The fewest positions; a line a change, a column a type and attention."""
    cases = [case for case in results if (case.kind, case.weights) == (kind, weights)]
    positions = min(case.positions for case in cases)
    cases = [case for case in cases if case.positions == positions and case.defect]
    columns = list(dict.fromkeys((case.precision, case.attention) for case in cases))
    rows = []
    for name in dict.fromkeys(case.defect for case in cases):
        row = [name]
        for column in columns:
            case = next(
                case
                for case in cases
                if case.defect == name and (case.precision, case.attention) == column
            )
            said = results[case]
            row.append(f"no defect: {said['verdict']}" if said["harmless"] else found(said))
        rows.append(row)
    return positions, grid(rows, ["planted", *(" ".join(column) for column in columns)])


def doubts(results):
    """Why right models are untrusted: each reason once, with how many cases it holds in."""
    times = {}
    for case, said in results.items():
        for note in said["notes"] if case.defect == "" else []:
            times.setdefault((case.weights, note), []).append(case)
    lines = []
    for (weights, note), cases in times.items():
        which = ", ".join(
            dict.fromkeys(f"{c.kind} {c.precision} {c.attention} at {c.positions}" for c in cases)
        )
        lines.append(f"* {weights}, {len(cases) if len(cases) > 3 else which}: {note}")
    return "\n".join(lines)


def times_table(results):
    clean = [case for case in results if not case.defect]
    rows = []
    for key in dict.fromkeys((c.positions, c.kind, c.attention) for c in sorted(clean)):
        of = [results[c] for c in clean if (c.positions, c.kind, c.attention) == key]
        seconds = lambda name: f"{statistics.median(said[name] for said in of):.2f}"
        rows.append([key[1], key[2], str(key[0]), seconds("forward"), seconds("seconds")])
    rows.sort(key=lambda row: (row[0], row[1], int(row[2])))
    return grid(rows, ["model", "attention", "T", "forward, s", "compare, s"])


def tables(results, version, defects):
    right = [case for case, said in results.items() if said["harmless"]]
    said = [results[case]["verdict"] for case in right]
    counted = ", ".join(f"{said.count(word)} {word}" for word in dict.fromkeys(said))
    parts = [
        f"Made with {version}. {len(right)} dumps of right models: {counted}.",
        "### Right models, and three defects beside each",
        clean_table(results, defects),
    ]
    if doubts(results):
        parts += ["Why some are untrusted (number of dumps, or which):", doubts(results)]
    for kind, weights in dict.fromkeys((case.kind, case.weights) for case in results):
        others = {case.defect for case in results if case[:2] == (kind, weights)}
        if others - {"", *defects}:
            positions, table = defect_table(results, kind, weights)
            parts += [f"### Defects: {kind}, {weights} weights, T = {positions}", table]
    parts += ["### Seconds, median over weights and types", times_table(results)]
    return "\n\n".join(parts) + "\n"


def replace_tables(path, text):
    """Everything behind the line that ends the page's own text."""
    with open(path, encoding="utf-8") as file:
        own = file.read().split(MARK)[0]
    with open(path, "w", encoding="utf-8") as file:
        file.write(own + MARK + "\n\n" + text)
