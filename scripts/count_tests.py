"""Prints "N passed, N failed, N skipped" from a JUnit file. usage: count_tests.py FILE"""
import sys
import xml.etree.ElementTree as tree

suite = tree.parse(sys.argv[1]).getroot()
total, failed, skipped = (int(suite.get(name)) for name in ("tests", "failures", "skipped"))
disabled = int(suite.get("disabled", 0))
print(f"{total - failed - skipped - disabled} passed, {failed} failed, {skipped + disabled} skipped")
