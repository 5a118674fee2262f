"""That compare.py sees what is wrong: python3 tests/kernels/compare_test.py"""

import collections
import unittest

import compare

GET = ("get", "text", "hit")
MISS = ("get", "text", "miss")
DOUBT = ("get", "text", "unknown")


def problems(recorded, connects=(3, 3), lost=0, possible=0, incomplete=0, source="syscalls"):
    """Of a client that got ten keys, had three connects, and three closes."""
    footer = {
        "source": {"name": source, "attached": [{"probe": "raw_tp:sys_exit"}]},
        "loss": {
            "losses": {"ring_full": lost},
            "possible": {"skipped_runs": possible},
            "incomplete": {"key_unreadable": incomplete},
        },
    }
    client = (collections.Counter({GET: 10}), {"connects": 3, "closes": 3})
    seen = {"connect": connects[0], "disconnect": connects[1]}
    return compare.weigh(compare.Verdict(), client, (collections.Counter(recorded), seen), footer)


class Weigh(unittest.TestCase):
    def test_equal_counts_are_right(self):
        self.assertEqual(problems({GET: 10}), [])

    def test_what_is_missing_must_be_said(self):
        self.assertTrue(problems({GET: 9}))
        self.assertFalse(problems({GET: 9}, lost=1))
        self.assertFalse(problems({GET: 9}, possible=1))
        self.assertTrue(problems({GET: 8}, lost=1))
        self.assertTrue(problems({GET: 9}, incomplete=1))

    def test_connections_are_counted(self):
        self.assertTrue(problems({GET: 10}, connects=(3, 2)))
        self.assertTrue(problems({GET: 10}, connects=(4, 3)))
        self.assertFalse(problems({GET: 10}, connects=(0, 0), source="usdt"))

    def test_what_was_not_done_is_never_right(self):
        self.assertTrue(problems({GET: 11}, lost=5))
        self.assertTrue(problems({GET: 9, MISS: 1}, lost=5))
        self.assertTrue(problems({GET: 10, DOUBT: 1}, lost=5))

    def test_doubt_must_be_said(self):
        self.assertTrue(problems({GET: 9, DOUBT: 1}))
        self.assertFalse(problems({GET: 9, DOUBT: 1}, incomplete=1))


def of_skips(misses, possible, probe="raw_tp:sock_recv_length", release="7.3.4"):
    loss = {"losses": {}, "possible": {"skipped_runs": possible}, "incomplete": {}}
    footer = {"source": {"attached": [{"probe": probe}]}, "loss": loss}
    return compare.skips(misses, footer, release)


class Skips(unittest.TestCase):
    def test_skipped_programs_must_be_counted(self):
        self.assertFalse(of_skips(5, 7))
        self.assertTrue(of_skips(5, 4))

    def test_where_there_must_be_some_none_shows_nothing(self):
        self.assertTrue(of_skips(0, 0))
        self.assertFalse(of_skips(0, 0, release="6.19.14"))
        self.assertFalse(of_skips(0, 0, release="7.3.4+deb13-cloud-arm64"))
        self.assertTrue(of_skips(0, 0, release="7.3.4+deb13-rt-arm64"))
        self.assertFalse(of_skips(0, 0, probe="tp:sock_recv_length"))
        self.assertFalse(of_skips(0, 0, probe="raw_tp:sys_exit"))


if __name__ == "__main__":
    unittest.main()
