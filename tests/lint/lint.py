#!/usr/bin/env python3
"""The tree's own rules. `lint.py [TREE]` checks every rule and prints TAP; `lint.py --self-test` shows, rule by rule, that a
file which breaks it is found. Each rule is a function (tree) -> list of "file:line: what"; RULES at the end lists them."""
import os
import re
import sys
import tempfile

# A folder of core/ may include itself and the folders after it (doc/design/overview.md).
ORDER = ['', 'cli', 'observe', 'rpc', 'stream', 'lifecycle', 'image', 'unpack', 'store', 'plugin', 'conf', 'exec', 'util']

# Where a library's headers may show up: everywhere else goes through what these folders offer.
HOMES = [
    (r'grpc/|protobuf-c/|google/', ['core/rpc/']),
    (r'microhttpd\.h|wslay/', ['core/rpc/', 'core/stream/', 'core/observe/']),
    (r'ltdl\.h|dlfcn\.h', ['core/plugin/', 'core/main.c']),
    (r'json-c/', ['core/util/', 'plugins/']),
    (r'toml\+\+/', ['core/conf/toml.cc']),
    (r'confuse\.h', ['core/conf/']),
    (r'curl/', ['core/image/']),
    (r'openssl/', ['core/util/digest', 'core/unpack/tarsplit.c', 'core/unpack/assemble.c', 'core/image/', 'core/stream/']),
    (r'gpgme\.h', ['core/image/']),
    (r'seccomp\.h|sys/capability\.h|selinux/|apparmor|libnetfilter_conntrack/', ['core/lifecycle/']),
    (r'archive(_entry)?\.h|zlib\.h|zstd(_errors)?\.h|isa-l', ['core/unpack/', 'core/image/', 'core/stream/spdy_headers.c']),
    (r'systemd/', ['core/daemon.c', 'core/watchdog.c', 'core/util/']),
    (r'btrfsutil\.h|btrfs/', ['plugins/storage/btrfs/']),
    (r're2/', ['plugins/hooks/ocihooks/pattern.cc']),
    (r'libdevmapper\.h', ['plugins/storage/devicemapper/']),
]
# Of those, what a plugin may have: json-c, and a library of its own.
PLUGIN_LIBS = {'plugins/network/cni/': ['json-c/'], 'plugins/network/bridge/': ['json-c/'],
               'plugins/hooks/': ['json-c/', 're2/'], 'plugins/storage/btrfs/': ['btrfsutil.h'],
               'plugins/storage/devicemapper/': ['libdevmapper.h']}
# What several plugins link: of all kinds, and a kind's own.
PLUGIN_SHARED = {'plugins/': 'plugins/common/', 'plugins/runtime/': 'plugins/runtime/oci/', 'plugins/storage/': 'plugins/storage/common/'}

# Calls with no safe use in a multithreaded daemon, each with the reason that is printed.
BANNED = [
    (r'\b(?:fork|vfork|daemon)\s*\(', 'a copy of a multithreaded process: use exec/spawn or host->spawn'),
    (r'\b(?:system|popen|wordexp)\s*\(', 'runs a shell: use exec/spawn or host->spawn'),
    (r'\b(?:posix_spawnp?|execlp?|execle|execvp?e?|execve|execveat|fexecve|wait|wait3|waitpid)\s*\(',
     'programs start and end in exec/spawn only'),
    (r'\b(?:strcpy|strcat|sprintf|vsprintf|gets|stpcpy|strncpy|strncat)\s*\(', 'no bound, or no end: use util/str.h or snprintf'),
    (r'\b(?:strtok|asctime|ctime|localtime|gmtime|gethostbyname|getpwnam|getpwuid|getgrnam|getgrgid|inet_ntoa|rand|srand)\s*\(',
     'hidden state shared by all threads'),
    (r'\b(?:atoi|atol|atof|atoll)\s*\(', 'takes anything for a number: use str_to_i64'),
    (r'\balloca\s*\(', 'no limit'),
    (r'\b(?:mktemp|tmpnam|tempnam|tmpfile)\s*\(', 'names that anybody may take first'),
    (r'\b(?:setenv|putenv|unsetenv|clearenv)\s*\(', 'the environment is read by other threads'),
    (r'\b(?:abort|assert|exit|_exit|quick_exit)\s*\(', 'no input ends the daemon: return an error'),
    (r'\bperror\s*\(|(?<![\w.>])printf\s*\(', 'stdout and stderr are the log\'s: use util/log.h'),
]
# Who may, and what: file prefix -> the banned words it may use, for the reason given in that file.
MAY = {
    'core/exec/spawn_child.c': {'execve', 'execveat', '_exit', 'fexecve'},
    'core/exec/spawn.c': {'_exit', 'waitpid'},
    'core/plugin/probe.c': {'_exit', 'exit', 'printf'},
    'core/cli/': {'printf', 'exit'},
    'core/main.c': {'printf', 'exit'},
    'core/daemon.c': {'_exit'},  # the end of the end: threads that did not leave in time
}
# The namespaces under the process' own directory in /proc are the main thread's, not the caller's.
SELF_NS = re.compile(r'/proc/self/(ns|attr|task|oom)(?!_score_adj)|/proc/%d/ns/%s".*getpid')

# Code that handles trees which an image or a container wrote: nothing there is opened by its name.
CONFINED = ['core/unpack/', 'core/lifecycle/user.c', 'plugins/storage/overlay/tree.c']
BY_NAME = re.compile(r'(?<![\w>.])(open|creat|fopen|opendir|stat|lstat|chmod|chown|lchown|mkdir|mknod|symlink|link|unlink|rmdir|'
                     r'rename|truncate|access|realpath|readlink|nftw|ftw|l?(?:set|get|list|remove)xattr|utimes|mount)\s*\(\s*([^,)]*)')
# /proc/self/fd/N: a name that the kernel made of a file that is already open.
BY_NAME_OK = re.compile(r'^(proc|"/proc/self/[^"]*")$')

MAX_LINES = 1000
SOURCE = ('.c', '.h', '.cc', '.def')
TOP = ['core', 'plugins', 'sdk', 'tests', 'etc', 'doc', 'm4', '.ci']
SKIP = re.compile(r'(^|/)(\.deps|\.libs|\.dirstamp|__pycache__|[^/]*\.(o|lo|la|so|a|log|trs|pyc)|libtool\.m4|lt[^/]*\.m4)(/|$)|~$')
SELF = 'tests/lint/lint.py'


class Tree:
    """The files of a tree, read once. `generated` tells what a build made in it."""

    def __init__(self, top):
        self.top, self.cache = top, {}
        self.files = []
        for d in TOP:
            for base, dirs, names in os.walk(os.path.join(top, d)):
                dirs[:] = [x for x in dirs if not SKIP.search(x)]
                for n in names:
                    path = os.path.relpath(os.path.join(base, n), top)
                    if not SKIP.search(path) and not self.generated(path):
                        self.files.append(path)
        self.files += [n for n in sorted(os.listdir(top)) if n in
                       ('bootstrap', 'configure.ac', 'Makefile.am', 'README.md', 'HACKING.md', 'VERSION')]
        self.files.sort()

    def generated(self, path):
        if '.pb-c.' in path or path.endswith('seccomp_builtin.c') or re.match(r'doc/crio[^/]*\.[0-9]$', path):
            return True
        with open(os.path.join(self.top, path), 'rb') as f:
            return f.read(4) == b'\x7fELF'

    def text(self, path):
        if path not in self.cache:
            with open(os.path.join(self.top, path), encoding='utf-8', errors='replace') as f:
                self.cache[path] = f.read()
        return self.cache[path]

    def lines(self, path):
        return enumerate(self.text(path).split('\n'), 1)

    def sources(self, *under):
        return [f for f in self.files if f.endswith(SOURCE) and f.startswith(under or ('core/', 'plugins/', 'sdk/', 'tests/'))]

    def code(self, path):
        """Its lines without comments; strings are kept."""
        def blank(m):
            s = m.group(0)
            return s if s[0] in '"\'' else re.sub(r'[^\n]', ' ', s)
        text = re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', blank, self.text(path), flags=re.S)
        return enumerate(text.split('\n'), 1)

    def calls(self, path):
        """Its lines without comments and without what is in strings."""
        for n, line in self.code(path):
            yield n, re.sub(r'"(?:\\.|[^"\\])*"', '""', line)

    def includes(self, path):
        for n, line in self.code(path):
            m = re.match(r'\s*#\s*include\s*([<"])([^>"]*)', line)
            if m:
                yield n, m.group(1), m.group(2)


def layering(t):
    bad = []
    for f in t.sources('core/'):
        part = f.split('/')
        mine = part[1] if len(part) > 2 else ''
        for n, _, inc in t.includes(f):
            if inc.startswith(('plugins/', 'tests/')):
                bad.append(f'{f}:{n}: core includes {inc}')
            if not inc.startswith('core/'):
                continue
            p = inc.split('/')
            theirs = p[1] if len(p) > 2 else ''
            if theirs not in ORDER or mine not in ORDER:
                bad.append(f'{f}:{n}: {inc}: a folder that has no place in the order of layers')
            elif ORDER.index(theirs) < ORDER.index(mine):
                bad.append(f'{f}:{n}: {mine} may not include {inc}: {theirs or "main"} is above it')
    return bad


def homes(t):
    bad = []
    for f in t.sources('core/', 'plugins/', 'sdk/'):
        for n, _, inc in t.includes(f):
            for what, where in HOMES:
                if re.match(what, inc) and not f.startswith(tuple(where)):
                    bad.append(f'{f}:{n}: <{inc}> belongs in {", ".join(where)}')
    return bad


LIBC = re.compile(r'(assert|ctype|dirent|elf|errno|fcntl|fnmatch|ftw|getopt|glob|grp|ifaddrs|inttypes|libgen|limits|locale|malloc|math|mntent|'
                  r'net/\w+|netdb|netinet/\w+|arpa/inet|poll|pthread|pwd|regex|sched|semaphore|setjmp|signal|stdalign|stdarg|stdatomic|stdbool|'
                  r'stddef|stdint|stdio|stdlib|string|strings|syslog|termios|threads|time|unistd|utime|wchar|endian|byteswap|'
                  r'(sys|linux|asm)/[\w/]+)\.h$')


def plugins(t):
    bad = []
    for f in t.sources('plugins/', 'sdk/'):
        for n, kind, inc in t.includes(f):
            if inc.startswith('crio/') or (kind == '<' and LIBC.match(inc)):
                continue
            own = os.path.dirname(f) + '/'
            if f.startswith('sdk/check/') and inc.startswith('core/'):
                continue  # the conformance tool is a host, not a plugin
            if kind == '"':
                path = inc if '/' in inc else own + inc
                shared = [v for k, v in PLUGIN_SHARED.items() if f.startswith(k)]
                if path.startswith(own) or path.startswith(tuple(shared) or ('\0',)):
                    continue
            elif any(inc.startswith(x) for k, v in PLUGIN_LIBS.items() if f.startswith(k) for x in v):
                continue
            bad.append(f'{f}:{n}: {inc}: a plugin has <crio/...>, libc, the kernel and its own library, nothing else')
    return bad


def banned(t):
    bad = []
    for f in t.sources('core/', 'plugins/'):
        may = {w for k, v in MAY.items() if f.startswith(k) for w in v}
        for n, line in t.calls(f):
            if re.match(r'\s*#', line):
                continue
            for what, why in BANNED:
                for m in re.finditer(what, line):
                    word = re.match(r'\w+', m.group(0)).group(0)
                    before = line[:m.start()]
                    if word in may or before.rstrip().endswith(('->', '.')):
                        continue
                    bad.append(f'{f}:{n}: {word}: {why}')
        for n, line in t.code(f):
            if SELF_NS.search(line):
                bad.append(f'{f}:{n}: /proc/self/... is the main thread\'s: use /proc/thread-self')
    return bad


def confined(t):
    bad = []
    for f in t.sources(*CONFINED):
        for n, line in t.code(f):
            for m in BY_NAME.finditer(line):
                if not BY_NAME_OK.match(m.group(2).strip()):
                    bad.append(f'{f}:{n}: {m.group(1)} by name in a tree that an image wrote: use fs_open_in, fs_open_beneath and the *at calls')
    return bad


def listed(t):
    """Every source is named in a Makefile.inc, and so is in the tarball; data of tests likewise, by file or by folder."""
    named = ''.join(t.text(f) for f in t.files if f.endswith('Makefile.inc')) + t.text('Makefile.am')
    words = set(re.split(r'[\s=\'"():,;]+', named.replace('$(srcdir)/', '').replace('$(top_srcdir)/', '')))
    made = t.text('configure.ac').split('AC_CONFIG_FILES', 1)[-1] if 'configure.ac' in t.files else ''
    bad = []
    for f in t.files:
        if f in words or f.endswith('Makefile.inc') or f.startswith('.ci/') or '/' not in f:
            continue
        parents = f.split('/')
        if not f.endswith(SOURCE) or f.startswith(('tests/', 'sdk/')):
            if any('/'.join(parents[:i]) in words for i in range(2, len(parents))):
                continue
        if f.endswith('.in') and f[:-3] in made:
            continue
        if re.match(r'(doc|etc)/', f) and any(w.startswith(os.path.dirname(f) + '/*') for w in words):
            continue
        bad.append(f'{f}:1: in no Makefile.inc: it is not built, and missing from the tarball')
    return bad


def length(t):
    return [f'{f}:{n}: more than {MAX_LINES} lines: split it' for f in t.sources()
            for n in [t.text(f).count('\n')] if n > MAX_LINES and not f.endswith('.def')]


# Written in pieces, so that this file does not break its own rule.
PLACES = re.compile('/wo' + r'rk/(main|wt|shared|tools|\.\w+)\b|/home/\w+/|\b(deb\.deb' + r'ian\.org|security\.deb' + r'ian\.org|pypi' +
                    r'\.org|files\.python' + r'hosted\.org|proxy\.go' + r'lang\.org|crates' + r'\.io|registry\.npm' + r'js\.org|archive\.ubu' +
                    r'ntu\.com)\b')


def places(t):
    return [f'{f}:{n}: {m.group(0)}: of one machine, or a package archive\'s host' for f in t.files for n, line in t.lines(f)
            for m in [PLACES.search(line)] if m]


LATER = re.compile(r'\b(TO' + r'DO|FIX' + r'ME|XX' + r'X|HA' + r'CK)\b')


def later(t):
    return [f'{f}:{n}: {m.group(0)}: build it whole or leave it out' for f in t.files if f != SELF for n, line in t.lines(f)
            for m in [LATER.search(line)] if m]


def contracts(t):
    """A header says at its top what it is for; a public one, in core/ or sdk/, does not only repeat its own name."""
    bad = []
    for f in t.files:
        if not f.endswith('.h') or not f.startswith(('core/', 'sdk/', 'plugins/')):
            continue
        m = re.match(r'/\*(.*?)\*/', t.text(f), re.S)
        words = re.findall(r'[A-Za-z]{2,}', m.group(1)) if m else []
        if len(words) < 5:
            bad.append(f'{f}:1: no comment at its top that says what it is for')
        guard = re.search(r'^#ifndef (\w+)\s*\n#define \1\b|^#pragma once', t.text(f), re.M)
        if not guard:
            bad.append(f'{f}:1: no include guard')
    return bad


def pages(t):
    """What the pages name is there: files and folders, and in HACKING.md's walk each function."""
    bad, functions = [], set()
    for f in t.sources('core/', 'plugins/'):
        functions.update(re.findall(r'\b(?:RPC_HANDLER\()?(\w+)[()]', t.text(f)))
    for f in [x for x in t.files if x in ('README.md', 'HACKING.md') or re.match(r'doc/design/.*\.md$', x)]:
        walk = False
        for n, line in t.lines(f):
            if line.startswith('## '):
                walk = 'ollow one' in line
            for path in re.findall(r'(?<![\w/.-])((?:core|plugins|sdk|tests|etc|doc)/[\w./*-]*\w)', line):
                path = path.rstrip('.')
                if '*' in path or path.upper() in path or re.search(r'[A-Z]{3}', path):
                    continue
                if not any(x == path or x.startswith(path + '/') or x.startswith(path + '.') for x in t.files) and \
                        not re.search(r'crio\.(conf|8|service)', path):
                    bad.append(f'{f}:{n}: {path} is not in the tree')
            for name in re.findall(r'`(\w+)`', line) if walk else []:
                if name not in functions and re.match(r'[a-z]+(_[a-z]+)+$', name) and name not in t.text('core/plugin/ops.def'):
                    bad.append(f'{f}:{n}: no function {name}')
    return bad


def synced(t):
    """Each file that syncs is in the table of doc/design/state.md, with its reason."""
    table = t.text('doc/design/state.md') if 'doc/design/state.md' in t.files else ''
    bad = []
    for f in t.sources('core/', 'plugins/'):
        if not f.endswith('.c') or f in table or (f.startswith('plugins/') and '/'.join(f.split('/')[:3]) in table):
            continue
        for n, line in t.calls(f):
            if re.search(r'\b(f(data)?sync|syncfs|sync_file_range|sync)\s*\(|\bFS_KEEP\b', line):
                bad.append(f'{f}:{n}: syncs, and doc/design/state.md does not say why')
    return bad


RULES = [pages, synced, layering, homes, plugins, banned, confined, listed, length, places, later, contracts]

GOOD = {'core/util/a.h': '/* a.h: what the others build on. Thread-safe. */\n#ifndef A_H\n#define A_H\n#endif\n',
        'core/util/a.c': '#include "core/util/a.h"\n/* never fork() */\nconst char *s = "system(";\n',
        'plugins/network/cni/cni.c': '#include <crio/network.h>\n#include <json-c/json.h>\n#include <sys/stat.h>\n',
        'core/Makefile.inc': 'x = core/util/a.h core/util/a.c plugins/network/cni/cni.c core/plugin/ops.def\n', 'Makefile.am': '', 'core/plugin/ops.def': '/* ops.def */\n'}
# Rule -> files that break it (each must be reported, alone, by that rule and no other).
BAD = {
    'layering': {'core/util/b.c': '#include "core/rpc/x.h"\n', 'core/exec/b.c': '  # include "core/daemon.h"\n',
                 'core/new/b.c': '#include "core/util/a.h"\n'},
    'homes': {'core/lifecycle/b.c': '#include <grpc/grpc.h>\n', 'core/rpc/b.c': '#include <curl/curl.h>\n',
              'core/store/b.c': '#include <json-c/json.h>\n', 'core/exec/b.c': '#include <dlfcn.h>\n'},
    'plugins': {'plugins/network/cni/b.c': '#include "core/util/a.h"\n', 'plugins/runtime/x/b.c': '#include <glib.h>\n',
                'plugins/network/x/b.c': '#include "plugins/runtime/oci/oci.h"\n'},
    'banned': {'core/util/b.c': 'int x = fork();\n', 'core/image/b.c': '\tsystem ("true");\n', 'plugins/network/cni/b.c': 'strcpy(a, b);\n',
               'core/lifecycle/b.c': 'f("/proc/self/ns/net");\n', 'core/rpc/b.c': 'if (x) abort();\n'},
    'confined': {'core/unpack/b.c': 'int fd = open(name, 0);\n', 'core/lifecycle/user.c': 'FILE *f = fopen(path, "r");\n'},
    'listed': {'core/util/unlisted.c': '\n', 'tests/fixtures/unlisted.txt': '\n'},
    'length': {'core/util/b.c': '\n' * (MAX_LINES + 1)},
    'places': {'core/util/b.c': '/* see /wo' 'rk/main */\n', 'doc/b.md': 'from https://pypi' '.org/x\n'},
    'later': {'core/util/b.c': '/* TO' 'DO: more */\n'},
    'pages': {'HACKING.md': '## Follow one RPC\ncore/util/a.c `gone_away`\n', 'README.md': 'see core/util/gone.c\n'},
    'synced': {'core/util/b.c': 'int r = fsync(fd);\n'},
    'contracts': {'core/util/b.h': '#ifndef B\n#define B\n#endif\n', 'sdk/crio/b.h': '/* b.h */\n#ifndef B\n#define B\n#endif\n',
                  'core/util/c.h': '/* c.h: what the others build on. */\n'},
}


def check(files):
    with tempfile.TemporaryDirectory() as top:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(top, path)) or top, exist_ok=True)
            with open(os.path.join(top, path), 'w', encoding='utf-8') as f:
                f.write(text)
        t = Tree(top)
        return {r.__name__: r(t) for r in RULES}


def self_test():
    rows = []
    found = {k: v for k, v in check(GOOD).items() if v}
    rows.append(('a clean tree passes', not found, found))
    for rule, files in BAD.items():
        for path, text in files.items():
            tree = dict(GOOD, **{path: text})
            if rule != 'listed':
                tree['core/Makefile.inc'] += 'y = ' + path + '\n'
            found = {k: v for k, v in check(tree).items() if v}
            ok = list(found) == [rule] and all(x.startswith(path) for x in found[rule])
            rows.append((f'{rule} finds {path}', ok, found))
    rows.append(('every rule has its bad files', set(BAD) == {r.__name__ for r in RULES}, ''))
    return rows


def main(argv):
    if argv[1:] == ['--self-test']:
        rows = self_test()
    else:
        t = Tree(argv[1] if len(argv) > 1 else os.environ.get('srcdir', '.'))
        rows = [(r.__name__, not bad, bad) for r in RULES for bad in [r(t)]]
    failed = 0
    print(f'1..{len(rows)}')
    for n, (name, ok, why) in enumerate(rows, 1):
        print(f'{"ok" if ok else "not ok"} {n} - {name}')
        failed += not ok
        if not ok:
            for line in why if isinstance(why, list) else [why]:
                print(f'# {line}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
