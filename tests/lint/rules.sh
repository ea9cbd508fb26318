#!/bin/sh
# The tree's rules (tests/lint/lint.py).
exec python3 "${srcdir:-.}/tests/lint/lint.py" "${srcdir:-.}"
