#!/usr/bin/env python3
"""What scripts/gpu-report.py must not call a pass. Usage: gpu_report_test.py SOURCE_DIR"""
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(sys.argv.pop(1)) / "scripts" / "gpu-report.py"
SPEC = importlib.util.spec_from_file_location("gpu_report", SCRIPT)
gpu_report = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gpu_report)

COUNTS = {"passed": 7, "failed": 0, "inconclusive": 0, "exit_code": 0, "absent_methods": ["pt"]}
ROW = {"name": "forward", "ours": 1.0, "peer": 5.5, "unit": "ms", "ratio": 5.5, "target": 5.0,
       "met": True}
BENCH = {"status": "ok", "small": False, "torch": "2.9", "rows": [ROW], "agreements": [{}],
         "absent": []}


class Report(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        self.codes = {part: "0" for part in gpu_report.PARTS}
        self.reports = {part: dict(COUNTS) for part in gpu_report.CHECKS + gpu_report.SANITIZERS}
        self.reports.update({part: dict(BENCH) for part in gpu_report.BENCHES})

    def run_script(self):
        """Exit code, gpu-check.json, gpu-check.md."""
        lines = [json.dumps({"part": part, "code": code, "seconds": 1})
                 for part, code in self.codes.items()]
        (self.out / "parts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for part, report in self.reports.items():
            (self.out / f"{part}.json").write_text(json.dumps(report), encoding="utf-8")
        code = subprocess.run([sys.executable, SCRIPT, self.out], stdout=subprocess.DEVNULL,
                              check=False).returncode
        return (code, json.loads((self.out / "gpu-check.json").read_text(encoding="utf-8")),
                (self.out / "gpu-check.md").read_text(encoding="utf-8"))

    def expect_failed(self, part, why):
        code, summary, _ = self.run_script()
        result = next(result for result in summary["results"] if result["part"] == part)
        self.assertEqual((code, summary["exit_code"], result["status"]), (1, 1, "failed"))
        self.assertIn(why, result["why"])

    def test_all_passed_is_a_pass_that_names_what_is_absent(self):
        code, summary, text = self.run_script()
        self.assertEqual((code, summary["verdict"]), (0, "all passed"))
        self.assertEqual(summary["absent"], "method pt (no case)")
        self.assertEqual(summary["targets"], "6 of 6 met")
        self.assertIn("| forward | 1 | 5.5 | ms | 5.5 | 5 | yes |", text)

    def test_every_part_fails_the_whole(self):
        for part in gpu_report.PARTS:
            for code, why in (("1", "exit code 1"), ("124", "out of time"),
                              ("139", "exit code 139"), ("", "exit code")):
                self.codes = {other: "0" for other in gpu_report.PARTS}
                self.codes[part] = code
                with self.subTest(part=part, code=code):
                    self.expect_failed(part, why)

    def test_a_part_that_never_ran_has_failed(self):
        for part in gpu_report.PARTS:
            self.setUp()
            del self.codes[part]
            with self.subTest(part=part):
                self.expect_failed(part, "never ran")

    def test_exit_code_0_without_a_report_has_failed(self):
        for part in list(self.reports):
            self.setUp()
            del self.reports[part]
            with self.subTest(part=part):
                self.expect_failed(part, "no report")

    def test_counts_decide_too(self):
        for change, why in (({"passed": 0}, "nothing passed"), ({"failed": 1}, "says otherwise"),
                            ({"inconclusive": 1}, "says otherwise"),
                            ({"exit_code": 1}, "says otherwise")):
            self.setUp()
            self.reports["device-check"].update(change)
            with self.subTest(change=change):
                self.expect_failed("device-check", why)

    def test_a_bench_that_measured_or_compared_nothing_has_failed(self):
        for change, why in (({"rows": []}, "nothing was measured"),
                            ({"agreements": []}, "nothing was measured"),
                            ({"status": "failed", "fault": "logits differ"}, "logits differ"),
                            ({"small": True}, "on the CPU")):
            self.setUp()
            self.reports["bench-wide"].update(change)
            with self.subTest(change=change):
                self.expect_failed("bench-wide", why)

    def test_only_what_may_be_absent_or_skipped_is(self):
        for part in gpu_report.PARTS:
            self.setUp()
            self.codes[part] = "absent"
            with self.subTest(part=part):
                self.assertEqual(self.run_script()[0], 0 if part in gpu_report.SANITIZERS else 1)
            self.codes[part] = "skipped"
            with self.subTest(part=part):
                self.assertEqual(self.run_script()[0], 0 if part in gpu_report.BENCHES else 1)

    def test_no_device_is_no_pass(self):
        self.codes["device-check"] = "77"
        code, summary, text = self.run_script()
        self.assertEqual((code, summary["exit_code"]), (77, 77))
        self.assertIn("NOT passed: no CUDA device", text)


if __name__ == "__main__":
    unittest.main()
