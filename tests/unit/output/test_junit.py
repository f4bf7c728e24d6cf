"""JUnit of gates: counts, verdicts, and whatever a model answered stays well-formed XML."""

from __future__ import annotations

from xml.etree import ElementTree

from loadtests.report import Case, junit_xml

SENTENCES = ("kept", "too slow", "too few samples", "no answer")


def test_each_verdict_has_its_element_and_is_counted() -> None:
    verdicts = ("PASS", "FAIL", "INCONCLUSIVE", "ERROR")
    cases = [Case(f"c{n}", verdict, SENTENCES[n]) for n, verdict in enumerate(verdicts)]
    root = ElementTree.fromstring(junit_xml("eval chat", cases).encode())
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("4", "2", "1")
    found = [(item[0].tag, item[0].get("type")) for item in root.iter("testcase")]
    assert found == [("system-out", None), ("failure", "FAIL"), ("failure", "INCONCLUSIVE"), ("error", "ERROR")]


def test_what_a_model_answered_stays_well_formed() -> None:
    said = "\x00\x1b[31m<b>&\"'\ud800\uffff\t😀"
    for verdict in ("PASS", "FAIL"):
        root = ElementTree.fromstring(junit_xml(said, [Case(said, verdict, said)]).encode())
        [item] = root.iter("testcase")
        assert "[31m<b>&\"'" in str(item.attrib["name"])
        assert "😀" in (item[0].text or item[0].attrib["message"])
