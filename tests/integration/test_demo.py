"""The demo does what it says, on the generated data and on the real files where they are at hand."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
SALES = pathlib.Path(os.environ.get("SATCHEL_SALES_DATA", ROOT.parent / "shared" / "data" / "crm-sales"))


class Demo(unittest.TestCase):
    def play(self, *words):
        return subprocess.run(["/usr/bin/python3", ROOT / "examples" / "crm" / "demo.py", "--build",
                               harness.BUILD, *words], text=True, capture_output=True, timeout=600)

    def test_generated_data(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.play("--keep", pathlib.Path(folder) / "kept")
            self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)
            kept = pathlib.Path(folder) / "kept"
            self.assertEqual(len(list(kept.glob("*.db"))), 4)
            self.assertEqual([p.name for p in (kept / "server").glob("*.db")], ["crm.db"])

    @unittest.skipUnless((SALES / "sales_pipeline.csv").is_file(), "the sales files are not at hand")
    def test_real_sales_data(self):
        done = self.play("--data", SALES)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)
        self.assertIn("8,800 opportunity", done.stdout)


if __name__ == "__main__":
    unittest.main()
