"""The demo's checker finds every kind of damage, and nothing where there is none. Needs no library.

Run by scripts/test.sh; prints its totals as cargo does.
"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples" / "demo"))

import ledger  # noqa: E402


def entries(topic, count):
    return [ledger.Entry(topic, seq, 1000 + seq) for seq in range(count)]


# Two publishers; what arrives of one may be interleaved with the other's in any way.
WANTED = {"feed": [e for pair in zip(entries("d.host.a", 20), entries("d.host.b", 20)) for e in pair],
          "formix": entries("d.formix.0", 7)}
ARRIVED = WANTED["feed"][:11] + WANTED["formix"] + WANTED["feed"][11:]


class Compare(unittest.TestCase):
    def test_what_is_exact_has_no_problem(self):
        self.assertEqual(ledger.compare(WANTED, ARRIVED), [])
        self.assertEqual(ledger.compare({}, []), [])

    def test_every_kind_of_damage_is_found_and_named(self):
        for how, words in (("lost", "1 lost"), ("twice", "1 received twice"), ("damaged", "not published, or damaged"),
                           ("order", "out of order from feed")):
            with self.subTest(how):
                problems = ledger.compare(WANTED, ledger.spoil(ARRIVED, how))
                self.assertTrue(any(words in problem for problem in problems), problems)

    def test_a_message_of_another_pattern_is_found(self):
        self.assertIn("not published", ledger.compare(WANTED, [*ARRIVED, ledger.Entry("d.x", 0, 0)])[0])

    def test_order_across_the_topics_of_one_publisher_counts(self):
        swapped = [ARRIVED[1], ARRIVED[0], *ARRIVED[2:]]
        self.assertIn("out of order", ledger.compare(WANTED, swapped)[0])

    def test_losing_everything_is_found(self):
        self.assertIn("47 lost", ledger.compare(WANTED, [])[0])


class Match(unittest.TestCase):
    def test_patterns_mean_what_is_documented(self):
        for pattern, topic, answer in (
            ("logs.=.error", "logs.app.error", True),
            ("logs.=.error", "logs.error", False),
            ("logs.=.error", "logs.a.b.error", False),
            ("logs.+", "logs.app.error", True),
            ("logs.+", "logs", False),
            ("logs.+", "logs.", False),
            ("logs.+", "logs.a..b", False),
            ("tes=.match", "test.match", True),
            ("a.b", "axb", False),
        ):
            with self.subTest(f"{pattern} {topic}"):
                self.assertEqual(ledger.matches(pattern, topic), answer)

    def test_a_publish_that_reached_too_few_channels_is_found(self):
        sent = [ledger.Sent(entry, 1) for entry in entries("d.host.a", 2)]
        self.assertEqual(ledger.shortfalls({"feed": sent}, ["d.host.="]), [])
        self.assertEqual(len(ledger.shortfalls({"feed": sent}, ["d.host.=", "d.+"])), 2)


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"test result: {'FAILED' if failed else 'ok'}. {result.testsRun - failed} passed; {failed} failed;")
    sys.exit(failed > 0)
