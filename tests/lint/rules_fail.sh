#!/bin/sh
# Shows that each rule of tests/lint/lint.py can fail.
exec python3 "${srcdir:-.}/tests/lint/lint.py" --self-test
