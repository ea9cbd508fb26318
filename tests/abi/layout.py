#!/usr/bin/env python3
# layout.py HEADER...: a C program on standard output that prints what the ABI is made of: the size and the offsets of every
# struct in the headers, the value of every enumerator, magic and version. It reads the headers itself, so that no struct can be left out.
import re
import sys

IDENT = re.compile(r"([A-Za-z_]\w*)\s*(?:\[[^\]]*\])?\s*$")


def plain(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^\s*#.*(?:\\\n.*)*$", "", text, flags=re.M)
    return re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", "", text)


def members(body):
    for decl in body.split(";"):
        pointer = re.search(r"\(\s*\*\s*([a-z_]\w*)\s*\)\s*\(", decl)
        if pointer:
            yield pointer.group(1)
            continue
        for part in decl.split(","):
            found = IDENT.search(part.strip())
            if found:
                yield found.group(1)


def main(paths):
    out = ["#include <stddef.h>", "#include <stdio.h>"]
    out += ["#include <crio/%s>" % p.rsplit("/", 1)[-1] for p in paths]
    out += ["int main(void)", "{", 'printf("magic 0x%08x\\n", CRIO_PLUGIN_MAGIC);',
            'printf("abi %u.%u\\n", CRIO_ABI_MAJOR, CRIO_ABI_MINOR);']
    for path in paths:
        with open(path, encoding="utf-8") as f:
            text = plain(f.read())
        for kind, name, body in re.findall(r"\b(struct|enum)\s+(\w+)\s*\{([^{}]*)\}\s*;", text):
            if kind == "enum":
                for item in body.split(","):
                    key = item.split("=")[0].strip()
                    if key:
                        out.append('printf("enum %s.%s %%d\\n", (int)%s);' % (name, key, key))
                continue
            out.append('printf("struct %s size %%zu\\n", sizeof(struct %s));' % (name, name))
            for m in members(body):
                out.append('printf("struct %s.%s at %%zu size %%zu\\n", offsetof(struct %s, %s), sizeof(((struct %s *)0)->%s));'
                           % (name, m, name, m, name, m))
    out += ["return 0;", "}"]
    print("\n".join(out))


main(sys.argv[1:])
