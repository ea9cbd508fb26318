#!/bin/bash
# The patches of tests/mutants: each applies to these sources as it is, says what it takes out and which test notices, that test is
# there, and doc/reliability.md names it.
cd "${srcdir:-.}" || exit 1
top=$PWD failed=0 n=0
tap() { # tap RC WHAT
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; failed=1; fi
}
# there KIND ARGUMENTS...: the test that must turn red
there() {
	case $1 in
	unit) [ -f "$2.c" ] || grep -rqF "$2" tests --include=Makefile.inc ;;
	suite) [ -f "$2" ] && { [ -z "${4:-}" ] || grep -qE "^@test \".*${4}" "$2"; } ;;
	crash) shift; while [[ $1 == *=* ]]; do shift; done; [ -f "$1" ] ;;
	*) false ;;
	esac
}
check() { # check FILE DOC: 0 and nothing, or what is wrong
	local red bad=0
	read -ra red < <(sed -n 's/^Red: //p' "$1")
	[ -n "$(sed -n 's/^What: //p' "$1")" ] || { echo "# no What:"; bad=1; }
	there "${red[@]}" || { echo "# no test: ${red[*]}"; bad=1; }
	grep -q "\<$(basename "$1" .patch)\>" "$2" || { echo "# not in $2"; bad=1; }
	patch -d "$top" -p1 -s -f -F0 --dry-run -r - <"$1" || { echo "# does not apply"; bad=1; }
	return $bad
}
# Shown to fail first.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
one=$(find tests/mutants -name '*.patch' | sort | head -1)
for wrong in '/^What:/d' 's/^Red: .*/Red: unit tests\/unit\/none/' 's/^Red: .*/Red: suite tests\/integration\/rpc.bats -f not.there/' 's/^-./-not in the file/'; do
	sed "$wrong" "$one" >"$work/$(basename "$one")"
	! check "$work/$(basename "$one")" doc/reliability.md >/dev/null 2>&1
	tap $? "a patch is found faulty after $wrong"
done
cp "$one" "$work/unheard-of.patch"
! check "$work/unheard-of.patch" doc/reliability.md >/dev/null 2>&1
tap $? "a patch that doc/reliability.md does not name is found"
for p in tests/mutants/*.patch; do
	check "$p" doc/reliability.md
	tap $? "$p"
done
echo "1..$n"
exit $failed
