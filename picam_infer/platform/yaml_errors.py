"""What PyYAML raises for a value that does not fit its tag, such as `!!int ""`: not only its own errors."""

from __future__ import annotations

import yaml

UNFIT = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError)
