#!/bin/bash
# cppcheck over the daemon and its plugins; skipped where it is not installed. tests/lint/cppcheck.txt lists what it gets wrong.
command -v cppcheck >/dev/null || { echo "1..0 # skip cppcheck is not installed"; exit 77; }
src=$(cd "${srcdir:-.}" && pwd) || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
# A build directory makes the second run quick; it is the caller's.
keep=$PWD/tests/lint/cppcheck.cache
mkdir -p "$keep" 2>/dev/null || keep=$dir
run() { cppcheck -q -j2 --std=c11 --enable=warning,portability,performance --inline-suppr --error-exitcode=1 \
	--suppress=missingInclude --suppress=missingIncludeSystem --suppressions-list="$src/tests/lint/cppcheck.txt" \
	--template='# {file}:{line}: {message} [{id}]' "$@" 2>&1; }
echo 1..2
printf 'int f(void)\n{\n\tint a[2] = { 0 };\n\treturn a[2];\n}\n' >"$dir/bad.c"
if ! run "$dir/bad.c" | grep -q arrayIndexOutOfBounds; then echo "not ok 1 - a read past an array's end is found"; exit 1; fi
echo "ok 1 - a read past an array's end is found"
if out=$(cd "$src" && run --cppcheck-build-dir="$keep" -I. -Isdk core plugins); then
	echo "ok 2 - core and plugins"
else
	printf '%s\n' "$out"
	echo "not ok 2 - core and plugins"
	exit 1
fi
