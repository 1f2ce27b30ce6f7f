"""What `assay overfit` says of a run: of all that was saved, and with evidence withheld."""

import json
import subprocess


def verdict_of(assay, folder, *arguments):
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    done = subprocess.run([assay, "overfit", *map(str, arguments), "--json", str(report), "--force",
                           "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        return f"exit code {done.returncode}: {done.stderr.strip()}", ""
    found = json.loads(report.read_text())
    return found["verdict"], found["reason"]


def judge(assay, folder, recipe):
    whole = ["--oracle", recipe.source]
    if recipe.checkpoints:
        whole += ["--checkpoints", recipe.checkpoints]
    losses, curve = folder / "losses.npz", folder / "curve.csv"
    verdict, reason = verdict_of(assay, folder, losses, curve, *whole)
    withheld = {"curve alone": verdict_of(assay, folder, curve),
                "curve and oracle": verdict_of(assay, folder, curve, *whole),
                "no fresh": verdict_of(assay, folder, folder / "no_fresh.npz", curve, *whole),
                "no oracle": verdict_of(assay, folder, losses, curve)}
    return {"verdict": verdict, "reason": reason,
            "withheld": {name: found for name, (found, _) in withheld.items()}}
