#!/bin/bash
# growth.sh SDK DIR: grower.c as a plugin of yesterday (a shorter descriptor, shorter structs), today, and tomorrow (longer ones), in
# DIR/network/{old,now,future}.so. The headers of the other days are made from today's.
set -eu
sdk=$1 dir=$2 here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir/network"
for day in old now future; do
	mkdir -p "$dir/sdk-$day"; cp -r "$sdk/crio" "$dir/sdk-$day/"; chmod -R u+w "$dir/sdk-$day"
done
# The last member of each goes.
python3 - "$dir/sdk-old/crio" "$dir/sdk-future/crio" <<'END'
import re, sys
def edit(path, name, change):
    text = open(path).read()
    found = re.search(r"\nstruct %s \{\n(.*?)\n\};" % name, text, re.S)
    body = found.group(1)
    new = change(body)
    assert new != body, name
    open(path, "w").write(text[:found.start(1)] + new + text[found.end(1):])
old, future = sys.argv[1:]
def drop(*members):
    def change(body):
        for m in members:
            body = re.sub(r"\n\t[^;\n]*\b%s\b[^;]*;[^\n]*" % m, "", body)
        return body
    return change
edit(old + "/plugin.h", "crio_plugin", drop("reload", "check"))
edit(old + "/plugin.h", "crio_host", drop("metric_add"))
edit(old + "/network.h", "crio_network_args", drop("result_json"))
edit(old + "/network.h", "crio_network_out", drop("result_json"))
edit(old + "/network.h", "crio_network_ops", drop("gc"))
for name, file, member in [("crio_plugin", "plugin.h", "int (*future_member)(void)"), ("crio_host", "plugin.h", "void (*future_service)(void)"),
                           ("crio_option", "plugin.h", "uint64_t future_option"), ("crio_network_args", "network.h", "const char *future_arg"),
                           ("crio_network_out", "network.h", "uint64_t future_out"), ("crio_network_ops", "network.h", "int (*future_op)(void)")]:
    edit(future + "/" + file, name, lambda body: body + "\n\t" + member + ";")
END
compile() { ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -Wno-missing-field-initializers -fPIC -fvisibility=hidden -shared -I"$dir/sdk-$1" -DNAME="\"$1\"" -DENTRY="$1" "${@:2}" -o "$dir/network/$1.so" "$here/grower.c"; }
compile old -DOLD
compile now
compile future -DNEW
