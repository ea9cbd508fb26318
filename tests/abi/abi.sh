#!/bin/bash
# abi.sh: the SDK's headers by themselves, and their layout against the committed table; TAP.
#	abi.sh --update   writes the table anew: only for an ABI that changes on purpose, with its number
set -u
src=$(cd "${srcdir:-.}" && pwd); [ -d "$src/sdk/crio" ] || src=$(cd "$(dirname "$0")/../.." && pwd)
headers=(types plugin runtime storage network hook)
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
n=0 failed=0
result() { # result STATUS TEXT [FILE]: one line of TAP
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; return; fi
	failed=1; echo "not ok $n - $2"; [ -z "${3:-}" ] || sed 's/^/# /' "$3" | head -30
}
layout() {
	python3 "$src/tests/abi/layout.py" "${headers[@]/#/$src/sdk/crio/}" >"$tmp/layout.c" 2>"$tmp/err" &&
		${CC:-cc} -std=gnu11 -I"$src/sdk" -o "$tmp/layout" "$tmp/layout.c" 2>>"$tmp/err" && "$tmp/layout" >"$tmp/layout.txt"
}
headers=("${headers[@]/%/.h}")
if [ "${1:-}" = --update ]; then layout && cp "$tmp/layout.txt" "$src/tests/abi/layout.txt"; exit; fi

[ "$(getconf LONG_BIT)" = 64 ] && lp64=1 || lp64=0
echo "1..$((${#headers[@]} * 2 + 2))"
for h in "${headers[@]}"; do
	# Twice: a header must bear being included again.
	printf '#include <crio/%s>\n#include <crio/%s>\ntypedef int not_empty;\n' "$h" "$h" >"$tmp/one.c"; cp "$tmp/one.c" "$tmp/one.cc"
	${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$src/sdk" -fsyntax-only "$tmp/one.c" 2>"$tmp/err"
	result $? "crio/$h compiles alone as C11" "$tmp/err"
	${CXX:-c++} -std=c++17 -Wall -Wextra -Wpedantic -Werror -I"$src/sdk" -fsyntax-only "$tmp/one.cc" 2>"$tmp/err"
	result $? "crio/$h compiles alone as C++17" "$tmp/err"
done

cat >"$tmp/plugin.cc" <<'END'
#include <crio/network.h>
static int open_it(const crio_host *, crio_instance *, crio_call *, void **, crio_err *) { return 0; }
static const crio_network_ops ops = {};
static const crio_plugin plugin = [] {
	crio_plugin p{};
	p.magic = CRIO_PLUGIN_MAGIC; p.size = sizeof(p); p.abi_major = CRIO_ABI_MAJOR; p.abi_minor = CRIO_ABI_MINOR;
	p.kind = CRIO_KIND_NETWORK; p.threads = CRIO_THREADS_PARALLEL; p.name = "cxx"; p.version = "1"; p.summary = "C++";
	p.ops_size = sizeof(ops); p.ops = &ops; p.open = open_it;
	return p;
}();
CRIO_PLUGIN_REGISTER(cxx, plugin)
END
${CXX:-c++} -std=c++17 -Wall -Wextra -Wpedantic -Werror -I"$src/sdk" -fPIC -shared -o "$tmp/cxx.so" "$tmp/plugin.cc" 2>"$tmp/err" &&
	nm -D "$tmp/cxx.so" | grep -q 'T cxx_LTX_crio_plugin_entry$'
result $? "a plugin can be written in C++17" "$tmp/err"

if [ $lp64 = 0 ]; then echo "ok $((n + 1)) - layout # skip the table is for 64-bit machines"; exit $failed; fi
layout && diff -u "$src/tests/abi/layout.txt" "$tmp/layout.txt" >>"$tmp/err"
result $? "sizes, offsets and values are those of tests/abi/layout.txt" "$tmp/err"
exit $failed
