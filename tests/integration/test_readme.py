"""The tour in README.md runs as it stands, and prints what it says."""
import os
import pathlib
import re
import subprocess
import unittest

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Readme(unittest.TestCase):
    def test_the_tour_can_be_pasted(self):
        tour = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
        tour = tour.replace("./dev build\n", "").replace("$PWD/build/bin", str(harness.BUILD / "bin"))
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", tour], cwd=ROOT, text=True,
                              capture_output=True, timeout=120, env={**os.environ, "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("c1|Northwind Ltd|555-2000||Oslo|2\n", done.stdout)
        self.assertRegex(done.stdout, r"customer +c1 +phone +lww +notice +555-1000 +555-2000")
        self.assertRegex(done.stdout, r"customer +1 +[0-9a-f]{32} +equal")


if __name__ == "__main__":
    unittest.main()
