#!/bin/bash
# Every shell script and bats suite, as Debian's shellcheck sees it; skipped where it is not installed.
cd "${srcdir:-.}" || exit 1
command -v shellcheck >/dev/null || { echo "1..0 # skip shellcheck is not installed"; exit 77; }
failed=0 n=0
tap() { # tap RC WHAT
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; failed=1; fi
}
# Shown to fail first: an unquoted variable that may be empty, in a test.
! printf '#!/bin/bash\nif [ $x == y ; then rm -rf $1/*; fi\n' | shellcheck -S warning - >/dev/null 2>&1
tap $? "a faulty script is found"
mapfile -t files < <(ls bootstrap .ci/run 2>/dev/null; find core plugins sdk tests -name '*.sh' -o -name '*.bash' -o -name '*.bats' | sort)
for f in "${files[@]}"; do
	sh=bash level=warning
	head -1 "$f" | grep -q '^#!/bin/sh' && sh='sh'
	# Suites read like sentences: only what cannot be meant, such as a `!` that fails no test.
	case $f in *.bats) sh=bats level=error ;; esac
	# 1090, 1091: files found at run time. 2154, 2034: variables that pass between a suite and its library.
	out=$(shellcheck -s $sh -S $level -e SC1090,SC1091,SC2154,SC2034 "$f" 2>&1)
	rc=$?
	[ $rc = 0 ] || printf '%s\n' "$out" | sed 's/^/# /'
	tap $rc "$f"
done
echo "1..$n"
exit $failed
