#!/bin/bash
# A plugin built with --with-<kind>-<name>=static shares one program with the core and the other plugins: no global name may be
# defined twice, or one would silently stand in for the other. Looks at the objects of this build.
command -v nm >/dev/null || { echo "1..0 # skip nm is not installed"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
globals() { nm -A --defined-only "$@" 2>/dev/null | awk 'NF >= 3 && $(NF-1) ~ /^[TDBRCG]$/ { f = $1; sub(/:[0-9a-f]*$/, "", f); sub(/\.libs\/.*la-/, "", f); print $NF, f }' | grep -v '^_'; }
twice() { sort -u | awk '$1 == name { print "# " $1 ": " file " and " $2; bad = 1 } { name = $1; file = $2 } END { exit bad }'; }
# Shown to fail first.
echo 'int same_name(void); int same_name(void) { return 1; }' >"$dir/a.c"
cp "$dir/a.c" "$dir/b.c"
${CC:-cc} -c -o "$dir/a.o" "$dir/a.c" && ${CC:-cc} -c -o "$dir/b.o" "$dir/b.c" || { echo "1..0 # skip no compiler"; exit 77; }
echo 1..2
if globals "$dir/a.o" "$dir/b.o" | twice >/dev/null; then echo "not ok 1 - a name defined twice is found"; exit 1; fi
echo "ok 1 - a name defined twice is found"
# libcore.a, and the plugins' objects under the names of their sources: two plugins may have the same source.
objects=$(find plugins -path '*/.libs/*.o' ! -path '*.lax/*' ! -name '*S.o')
[ -f libcore.a ] && [ -n "$objects" ] || { echo "not ok 2 - run in a built tree"; exit 1; }
# shellcheck disable=SC2086
if globals libcore.a $objects | twice; then
	echo "ok 2 - core and plugins share no global name"
else
	echo "not ok 2 - core and plugins share no global name"
	exit 1
fi
