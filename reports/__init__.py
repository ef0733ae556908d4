"""Verdicts on the suite's reports: reads JUnit XML, compares, renders. Needs neither torch nor the suite.

from reports import compare, read
parity = compare(read("cuda.xml"), read("rocm.xml"))
print(parity.verdict, parity.headline)
"""

from .model import Case, Check, Environment, Measured, Report, ReportError, Sketch
from .parity import Parity, compare
from .reading import read
from .single import Assessment, assess
from .verdict import CheckRow, Row
from .waivers import Waiver, read_waivers

__all__ = [
    "Assessment",
    "Case",
    "Check",
    "CheckRow",
    "Environment",
    "Measured",
    "Parity",
    "Report",
    "ReportError",
    "Row",
    "Sketch",
    "Waiver",
    "assess",
    "compare",
    "read",
    "read_waivers",
]
