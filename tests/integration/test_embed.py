"""An application built against an installed Satchel works."""
import os
import subprocess
import unittest

import harness

ROOT = harness.pathlib.Path(__file__).resolve().parents[2]


class Embed(harness.SatchelTest):
    schema = None

    def build(self, *words, **options):
        done = subprocess.run([str(word) for word in words], text=True, capture_output=True, **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_find_package_and_pkg_config_and_the_example(self):
        prefix = self.folder / "prefix"
        self.build("cmake", "--install", harness.BUILD, "--prefix", prefix)
        self.build("cmake", "-S", ROOT / "examples" / "embed", "-B", self.folder / "b", "-G", "Ninja",
                   f"-DCMAKE_PREFIX_PATH={prefix}")
        self.build("cmake", "--build", self.folder / "b")
        pkg_config = next(prefix.rglob("pkgconfig"))
        flags = self.build("pkg-config", "--cflags", "--libs", "satchel",
                           env={**os.environ, "PKG_CONFIG_PATH": str(pkg_config)}).split()
        self.build("cc", "-o", self.folder / "visits", ROOT / "examples" / "embed" / "visits.c", *flags)

        self.users = ()
        migrations = sorted((ROOT / "examples" / "crm" / "schema").glob("*.sql"))
        self.start("".join(migration.read_text() for migration in migrations))
        replica = self.join("hq")
        library = {**os.environ, "LD_LIBRARY_PATH": str(next(prefix.rglob("libsatchel.so*")).parent)}
        for program in (self.folder / "b" / "visits", self.folder / "visits"):
            output = self.build(program, replica, "some-account", "Plant tour", env=library)
            self.assertIn("synced: 1 sent", output)
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM activity"), [{"n": 2}])
        self.server.stop()
        self.assertIn("nothing lost", self.build(program, replica, "some-account", "Offline", env=library))


if __name__ == "__main__":
    unittest.main()
