"""Prints "N passed, N failed, N skipped", the sum over JUnit files. usage: count_tests.py FILE..."""
import sys
import xml.etree.ElementTree as tree

suites = [tree.parse(path).getroot() for path in sys.argv[1:]]
total, failed, skipped, disabled = (sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "skipped", "disabled"))
print(f"{total - failed - skipped - disabled} passed, {failed} failed, {skipped + disabled} skipped")
