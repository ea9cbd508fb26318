#!/bin/bash
# run.sh [NAME...]: takes one rule after the other out of a copy of the sources, builds it, and runs the test that must turn red. A
# mutant is NAME.patch: "What:" says which rule is missing, "Red:" which test notices:
#	unit PROGRAM                  a program of make check
#	suite FILE.bats [-f FILTER]   a suite on a node of its own
#	crash [VAR=VALUE] FILE ARGS   a script of tests/crash
# First each of these tests must pass without the mutant. make check sees to it that the patches apply (tests/lint/mutants.sh). Needs
# root; three quarters of an hour for all.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }
work=$(mktemp -d /var/tmp/crio-mutants.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
(cd "$top" && tar -c --exclude=./.git --exclude='./b' --exclude='./b-*' --exclude='./build*' --exclude='*.o' . ) | tar -x -C "$work"
cd "$work" || exit 1
autoreconf -fi >/dev/null 2>&1; mkdir b
cc=gcc cxx=g++; if command -v ccache >/dev/null; then cc="ccache gcc" cxx="ccache g++"; fi
(cd b && ../configure -q --prefix=/usr --sysconfdir=/etc CC="$cc" CXX="$cxx" CFLAGS="-g -O1" CXXFLAGS="-g -O1") >configure.out 2>&1 || { tail configure.out; exit 1; }
# build KIND PROGRAM: what a test of that kind needs. One after the other: both would make libcore.a.
build() {
	case $1 in
	unit) case $2 in tests/plugin/*) make -s -j"$(nproc)" -C b all >make.out 2>&1 || return 1 ;; esac; make -s -j"$(nproc)" -C b "$2" >make.out 2>&1; return ;;
	crash) make -s -j"$(nproc)" -C b all >make.out 2>&1 && make -s -j"$(nproc)" -C b crash-programs >>make.out 2>&1 || return 1 ;;
	*) make -s -j"$(nproc)" -C b all >make.out 2>&1 || return 1 ;;
	esac
	rm -rf b/stage && make -s -C b install DESTDIR="$work/b/stage" >>make.out 2>&1
}
export CRIO=$work/b/stage/usr/bin/crio CRIO_PLUGINS=$work/b/stage/usr/lib/crio/plugins CRI_CLIENT=$work/b/tests/client/cri-client
export FIXTURES=$work/tests/fixtures BUILD=$work/b NODE_IMAGES=${NODE_IMAGES:-$work/images}
[ -d "$NODE_IMAGES/user" ] || tests/fixtures/images.sh "$NODE_IMAGES" >/dev/null 2>&1
green() { # green KIND ARGUMENTS...: does it pass?
	local kind=$1 args=() file; shift
	case $kind in
	unit) timeout 120 make -s -C b check TESTS="$1" check_PROGRAMS="$1" >test.out 2>&1 ;;
	suite) file=$1; shift; [ $# = 0 ] || args=("$1" "${2//./ }"); bash tests/integration/run.sh "${args[@]}" "$file" >test.out 2>&1 && ! grep -q '^not ok' test.out ;;
	crash) while [[ $1 == *=* ]]; do args+=("$1"); shift; done
		env "${args[@]}" bash tests/integration/run.sh "$@" >test.out 2>&1 ;;
	esac
}
build crash || { tail -20 make.out; echo "the sources do not build"; exit 1; }
mutants=("$@")
[ $# -gt 0 ] || mapfile -t mutants < <(cd tests/mutants && ls ./*.patch | sed "s|^\./||; s/\.patch$//")
n=0 bad=0
result() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else bad=1; echo "not ok $n - $2"; tail -5 test.out | cut -c1-200 | sed 's/^/#   /'; fi; }
declare -A clean
for name in "${mutants[@]}"; do
	p=tests/mutants/$name.patch
	read -ra red < <(sed -n 's/^Red: //p' "$p")
	if [ -z "${clean[${red[*]}]:-}" ]; then
		build "${red[@]:0:2}" || { tail -20 make.out; echo "the sources do not build any more"; exit 1; }
		green "${red[@]}" && clean[${red[*]}]=yes || clean[${red[*]}]=no
	fi
	[ "${clean[${red[*]}]}" = yes ] || { result 1 "$name: ${red[*]} is red without the mutant"; continue; }
	patch -s -p1 <"$p" >/dev/null || { echo "does not apply" >test.out; result 1 "$name: the patch does not apply"; continue; }
	if ! build "${red[@]:0:2}"; then cp make.out test.out; result 1 "$name: does not build"
	elif green "${red[@]}"; then result 1 "$name: nobody noticed that $(sed -n 's/^What: //p' "$p")"
	else result 0 "$name: ${red[*]} turns red when $(sed -n 's/^What: //p' "$p")"; fi
	patch -s -R -p1 <"$p" >/dev/null
done
echo "1..$n"
exit $bad
