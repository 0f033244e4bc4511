#!/usr/bin/env python3
"""What a change costs the server for each device that is connected and is to have it: real satcheld, a thousand
devices that are sockets and nothing behind them, one that writes. CPU time of the server, from before the change is
pushed until everybody has it, over their number; and the same of a hundred, which says what of it is for each.
"""
import pathlib
import statistics
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from test_connections import Connections  # noqa: E402

COUNTS = (100, 1000)
CHANGES = 20


class Subscribers(Connections):
    def cpu_seconds(self):
        tasks = pathlib.Path(f"/proc/{self.server.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def change(self, crowd, devices, ana, name):
        heard = [len(peer.kinds) for peer in devices]
        self.sql(ana, f"INSERT INTO event VALUES('{name}', 'n', 'to everybody')")
        before = self.cpu_seconds()
        self.sync(ana)
        crowd.until(lambda: all(len(peer.kinds) > count for peer, count in zip(devices, heard)), self)
        return self.cpu_seconds() - before

    def test_a_change_for_many(self):
        ana = self.join("ana")
        self.sync(ana)
        identities = self.enrol(max(COUNTS))
        seconds = {}
        for count in COUNTS:
            crowd, devices = self.attach(identities[:count], ana)
            end = time.monotonic() + 1  # what they lack, and heads
            while time.monotonic() < end:
                crowd.turn()
            seconds[count] = statistics.median(
                self.change(crowd, devices, ana, f"{count}-{i}") for i in range(CHANGES))
            crowd.close()
            print(f"{count:5} subscribers: {seconds[count] * 1e3:7.2f} ms of the server for a change, "
                  f"{seconds[count] / count * 1e6:6.1f} us each")
        few, many = COUNTS
        print(f"for each more: {(seconds[many] - seconds[few]) / (many - few) * 1e6:.1f} us "
              f"(medians of {CHANGES} changes)")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + ["Subscribers.test_a_change_for_many"])
