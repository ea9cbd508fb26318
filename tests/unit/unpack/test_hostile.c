/* Archives that no honest tool makes: each with the error or the tree it must give, in every whiteout style it is for,
 * with a file outside the tree that must stay as it is. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/util/fs.h"
#include "tests/unit/unpack/mktar.h"

#define O (1 << CRIO_WHITEOUT_OVERLAY)
#define R (1 << CRIO_WHITEOUT_REMOVE)
#define U (1 << CRIO_WHITEOUT_OVERLAY_USER)
#define ALL (O | R | U)

struct hostile {
	const char *name;
	int styles;
	const char *before;             /* shell, in the tree: what the parent layer has */
	const char *script;             /* lines "type|name|link|content" */
	void (*build)(struct buf *t);   /* instead */
	int code;
	const char *after;              /* shell, in the tree: must succeed */
};

/* ---- archives that a script cannot say */

static void head_with(struct buf *t, int at, const char *bytes, size_t n)
{
	struct mk_head h;

	mk_head(&h, '0', "f", "", 0);
	memcpy(h.b + at, bytes, n);
	mk_block(t, &h);
	mk_end(t);
}

static void size_negative(struct buf *t) { head_with(t, 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0", 12); }
static void size_too_wide(struct buf *t) { head_with(t, 124, "\x81\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xf0", 12); }
static void size_64_bits(struct buf *t) { head_with(t, 124, "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12); }
static void size_not_octal(struct buf *t) { head_with(t, 124, "00000000089", 12); }
static void size_minus(struct buf *t) { head_with(t, 124, "-0000000001", 12); }
static void size_huge(struct buf *t) { head_with(t, 124, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12); }
static void size_4g_missing(struct buf *t) { head_with(t, 124, "40000000000", 12); }
static void uid_minus_one(struct buf *t) { head_with(t, 108, "\xff\xff\xff\xff\xff\xff\xff\xff", 8); }
static void uid_all_ones(struct buf *t) { head_with(t, 108, "\x80\0\0\0\xff\xff\xff\xff", 8); }
static void gid_not_octal(struct buf *t) { head_with(t, 116, "abc", 4); }
static void mode_not_octal(struct buf *t) { head_with(t, 100, "rwxr-x", 7); }
static void mtime_before_1970(struct buf *t) { head_with(t, 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12); }
static void mtime_far(struct buf *t) { head_with(t, 136, "\x80\0\0\0\x3f\xff\xff\xff\xff\xff\xff\xff", 12); }
static void mtime_not_octal(struct buf *t) { head_with(t, 136, "yesterday", 10); }
static void name_empty(struct buf *t) { head_with(t, 0, "\0", 1); }
static void nothing(struct buf *t) { (void)t; }

static void checksum_wrong(struct buf *t)
{
	mk_entry(t, '0', "f", "", "x");
	t->p[0] = 'g';
	mk_end(t);
}

static void one_zero_block(struct buf *t)
{
	static const char zero[512];

	mk_entry(t, '0', "a", "", NULL);
	buf_add(t, zero, 512);
	mk_entry(t, '0', "b", "", NULL);
	mk_end(t);
}

static void cut_in_header(struct buf *t)
{
	mk_entry(t, '0', "a", "", NULL);
	t->n -= 100;
}

static void cut_in_data(struct buf *t)
{
	mk_entry(t, '0', "a", "", "some text");
	t->n -= 510;
}

static void cut_in_padding(struct buf *t)
{
	mk_entry(t, '0', "a", "", "text");
	t->n -= 500;
}

static void no_end(struct buf *t)
{
	mk_entry(t, '0', "a", "", "text");
}

static void rubbish(struct buf *t)
{
	for (int i = 0; i < 2000; i++)
		buf_addc(t, (char)(i * 7 + 1));
}

static void after_end(struct buf *t)
{
	mk_entry(t, '0', "a", "", "x");
	mk_end(t);
	mk_entry(t, '0', "../b", "", "y");
}

static void link_with_size(struct buf *t)
{
	struct mk_head h;

	mk_entry(t, '0', "f", "", "x");
	mk_head(&h, '1', "h", "f", 512);
	mk_block(t, &h);
	mk_entry(t, '0', "inner", "", NULL);
	mk_end(t);
}

static void long_name_huge(struct buf *t)
{
	cleanup_free char *s = malloc(2u << 20);

	memset(s, 'a', (2u << 20) - 1);
	s[(2u << 20) - 1] = '\0';
	mk_long(t, 'L', s);
	mk_entry(t, '0', "f", "", NULL);
	mk_end(t);
}

static void name_of(struct buf *t, size_t n, char c, char sep)
{
	char s[6000];

	for (size_t i = 0; i < n; i++)
		s[i] = sep && i % 2 ? sep : c;
	s[n] = '\0';
	mk_long(t, 'L', s);
	mk_entry(t, '0', "f", "", "deep");
	mk_end(t);
}

static void name_5000(struct buf *t) { name_of(t, 5001, 'a', '/'); }
static void component_256(struct buf *t) { name_of(t, 256, 'a', 0); }
static void component_255(struct buf *t) { name_of(t, 255, 'a', 0); }
static void deep_4095(struct buf *t) { name_of(t, 4095, 'a', '/'); }

static void deep_replaced(struct buf *t)
{
	deep_4095(t);
	t->n -= 1024;
	mk_entry(t, '0', "a/.removed-0/x", "", "y");
	mk_entry(t, '0', "a", "", "y");
	mk_end(t);
}

static void link_long(struct buf *t)
{
	char s[5000];

	memset(s, 'a', sizeof(s) - 1);
	s[sizeof(s) - 1] = '\0';
	mk_long(t, 'K', s);
	mk_entry(t, '2', "l", "", NULL);
	mk_end(t);
}

/* Each link leads 1500 directories down, and the next starts there. */
static void deep_by_links(struct buf *t)
{
	char s[3100], name[3200];

	for (size_t i = 0; i < 3000; i++)
		s[i] = i % 2 ? '/' : 'a';
	s[2999] = '\0';
	mk_long(t, 'L', s);
	mk_entry(t, '5', "d", "", NULL);
	mk_long(t, 'K', s);
	mk_entry(t, '2', "l", "", NULL);
	(void)snprintf(name, sizeof(name), "l/%s", s);
	mk_long(t, 'L', name);
	mk_entry(t, '5', "d", "", NULL);
	mk_end(t);
}

static void pax_then_file(struct buf *t, const char *k, const char *v)
{
	mk_pax(t, 'x', k, v, NULL);
	mk_entry(t, '0', "f", "", "content");
	mk_end(t);
}

static void pax_dotdot(struct buf *t) { pax_then_file(t, "path", "../canary"); }
static void pax_abs(struct buf *t) { pax_then_file(t, "path", "/a/b"); }
static void pax_path_empty(struct buf *t) { pax_then_file(t, "path", ""); }
static void pax_size_minus(struct buf *t) { pax_then_file(t, "size", "-7"); }
static void pax_size_text(struct buf *t) { pax_then_file(t, "size", "7x"); }
static void pax_size_huge(struct buf *t) { pax_then_file(t, "size", "9223372036854775807"); }
static void pax_size_over(struct buf *t) { pax_then_file(t, "size", "9223372036854775808"); }
static void pax_uid_huge(struct buf *t) { pax_then_file(t, "uid", "4294967296"); }
static void pax_uid_text(struct buf *t) { pax_then_file(t, "uid", "root"); }
static void pax_mtime_text(struct buf *t) { pax_then_file(t, "mtime", "1.2.3"); }
static void pax_mtime_minus(struct buf *t) { pax_then_file(t, "mtime", "-1.5"); }
static void xattr_overlay(struct buf *t) { pax_then_file(t, "SCHILY.xattr.trusted.overlay.opaque", "y"); }
static void xattr_redirect(struct buf *t) { pax_then_file(t, "SCHILY.xattr.trusted.overlay.redirect", "/etc"); }
static void xattr_user_overlay(struct buf *t) { pax_then_file(t, "SCHILY.xattr.user.overlay.opaque", "y"); }
static void xattr_unknown(struct buf *t) { pax_then_file(t, "SCHILY.xattr.nonsense.x", "y"); }
static void xattr_nameless(struct buf *t) { pax_then_file(t, "SCHILY.xattr.", "y"); }
static void xattr_bad_caps(struct buf *t) { pax_then_file(t, "SCHILY.xattr.security.capability", "x"); }
static void xattr_user(struct buf *t) { pax_then_file(t, "SCHILY.xattr.user.a", "b"); }

static void pax_global(struct buf *t)
{
	mk_pax(t, 'g', "path", "../canary", "uid", "77", NULL);
	mk_entry(t, '0', "f", "", NULL);
	mk_end(t);
}

/* The global header ends what was said of the next entry. */
static void pax_then_global(struct buf *t)
{
	mk_pax(t, 'x', "path", "other", NULL);
	mk_pax(t, 'g', "comment", "c", NULL);
	mk_entry(t, '0', "f", "", NULL);
	mk_end(t);
}

static void pax_raw(struct buf *t, const char *s, size_t n)
{
	mk_pax_raw(t, 'x', s, n);
	mk_entry(t, '0', "f", "", NULL);
	mk_end(t);
}
#define PAX(name, text)                        \
	static void name(struct buf *t)        \
	{                                      \
		pax_raw(t, text, sizeof(text) - 1); \
	}
PAX(pax_nul, "11 path=a\0b\n")
PAX(pax_short, "5 path=ab\n")
PAX(pax_long, "50 path=ab\n")
PAX(pax_no_equals, "9 pathab\n")
PAX(pax_no_key, "6 =ab\n")
PAX(pax_no_newline, "10 path=abc")
PAX(pax_zero, "0 path=ab\n")
PAX(pax_huge_length, "99999999999999999999 path=ab\n")
PAX(pax_minus_length, "-11 path=ab\n")
PAX(pax_no_space, "11")
PAX(pax_key_nul, "10 p\0th=ab\n")
PAX(pax_sparse_pairs, "23 GNU.sparse.offset=1\n23 GNU.sparse.offset=1\n")
PAX(pax_sparse_open, "23 GNU.sparse.offset=1\n")

static void pax_over_limit(struct buf *t)
{
	cleanup_free char *s = malloc(1200000);

	memset(s, 'v', 1100000);
	s[1100000] = '\0';
	pax_then_file(t, "SCHILY.xattr.user.a", s);
}

/* Many small ones for one entry. */
static void pax_chain_over_limit(struct buf *t)
{
	char s[60001];

	memset(s, 'v', 60000);
	s[60000] = '\0';
	for (int i = 0; i < 20; i++)
		mk_pax(t, 'x', "comment", s, NULL);
	mk_entry(t, '0', "f", "", NULL);
	mk_end(t);
}

static void sparse_with(struct buf *t, const char *map, const char *size, const char *data)
{
	mk_pax(t, 'x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.map", map, "GNU.sparse.size", size,
	       NULL);
	mk_entry(t, '0', "f", "", data);
	mk_end(t);
}

static void sparse_good(struct buf *t) { sparse_with(t, "2,3,10,1", "20", "abcd"); }
static void sparse_overlap(struct buf *t) { sparse_with(t, "0,3,2,1", "20", "abcd"); }
static void sparse_backwards(struct buf *t) { sparse_with(t, "10,3,2,1", "20", "abcd"); }
static void sparse_beyond(struct buf *t) { sparse_with(t, "0,3,30,1", "20", "abcd"); }
static void sparse_sum(struct buf *t) { sparse_with(t, "0,3", "20", "abcd"); }
static void sparse_wraps(struct buf *t) { sparse_with(t, "9223372036854775800,4", "20", "abcd"); }
static void sparse_huge(struct buf *t) { sparse_with(t, "0,4", "9000000000000000000", "abcd"); }
static void sparse_text(struct buf *t) { sparse_with(t, "0,4,x,1", "20", "abcd"); }
static void sparse_odd(struct buf *t) { sparse_with(t, "0,4,5", "20", "abcd"); }

static void sparse_many(struct buf *t)
{
	cleanup_buf struct buf m = BUF_INIT;

	for (int i = 0; i < 70000; i++)
		buf_addf(&m, "%s%d,0", i ? "," : "", i);
	sparse_with(t, m.p, "100000", "abcd");
}

static void sparse_dir(struct buf *t)
{
	mk_pax(t, 'x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", NULL);
	mk_entry(t, '5', "d", "", NULL);
	mk_end(t);
}

static void sparse_10(struct buf *t, const char *map)
{
	char block[513];

	mk_pax(t, 'x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s", "GNU.sparse.realsize", "9",
	       NULL);
	memset(block, 'a', 512);
	block[512] = '\0';
	memcpy(block, map, strlen(map));
	mk_entry(t, '0', "f", "", block);
	mk_end(t);
}

static void sparse_10_text(struct buf *t) { sparse_10(t, "x\n"); }
static void sparse_10_many(struct buf *t) { sparse_10(t, "99999999\n"); }
static void sparse_10_runs_out(struct buf *t) { sparse_10(t, "1\n0\n"); }
static void sparse_10_sum(struct buf *t) { sparse_10(t, "1\n0\n5\n"); }
static void sparse_10_empty(struct buf *t) { sparse_10(t, "0\n"); }

static void gnu_sparse_with(struct buf *t, bool extended, const char *realsize)
{
	struct mk_head h;

	mk_head(&h, 'S', "s", "", 4);
	memcpy(h.b + 257, "ustar  ", 8);
	mk_octal(&h, 386, 12, 0);
	mk_octal(&h, 398, 12, 4);
	h.b[482] = extended;
	memcpy(h.b + 483, realsize, 12);
	mk_block(t, &h);
	if (!extended)
		mk_data(t, "abcd", 4);
	mk_end(t);
}

static void gnu_sparse_good(struct buf *t) { gnu_sparse_with(t, false, "00000000010"); }
static void gnu_sparse_cut(struct buf *t)
{
	gnu_sparse_with(t, true, "00000000010");
	t->n -= 1024;
}
static void gnu_sparse_minus(struct buf *t) { gnu_sparse_with(t, false, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0"); }
static void gnu_sparse_small(struct buf *t) { gnu_sparse_with(t, false, "00000000001"); }

static void device_range(struct buf *t)
{
	mk_device(t, '3', "n", 5000, 1);
	mk_end(t);
}

static void devices(struct buf *t)
{
	mk_device(t, '3', "null", 1, 3);
	mk_device(t, '4', "blk", 7, 300);
	mk_device(t, '6', "pipe", 0, 0);
	mk_end(t);
}

static void set_ids(struct buf *t)
{
	mk_owned(t, '0', "su", 04755, 1000, 1001, "x");
	mk_owned(t, '5', "sg", 02775, 0, 50, NULL);
	mk_owned(t, '5', "tmp", 01777, 0, 0, NULL);
	mk_end(t);
}

static void root_meta(struct buf *t)
{
	mk_owned(t, '5', "./", 0711, 3, 4, NULL);
	mk_end(t);
}

static void caps(struct buf *t)
{
	/* cap_net_raw+ep, version 2; written by hand for its NULs. */
	static const char rec[] = "57 SCHILY.xattr.security.capability=\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n";

	mk_pax_raw(t, 'x', rec, sizeof(rec) - 1);
	mk_owned(t, '0', "ping", 0755, 5, 5, "x");
	mk_entry(t, '1', "ping2", "ping", NULL);
	mk_end(t);
}

static void v7_dir(struct buf *t)
{
	struct mk_head h;

	mk_head(&h, '\0', "d/", "", 0);
	memset(h.b + 257, 0, 255);
	mk_block(t, &h);
	mk_end(t);
}

static void ustar_prefix(struct buf *t)
{
	struct mk_head h;

	mk_head(&h, '0', "name", "", 0);
	memcpy(h.b + 345, "pre/fix", 7);
	mk_block(t, &h);
	mk_head(&h, '0', "name", "", 0);
	memcpy(h.b + 345, "..", 2);
	mk_block(t, &h);
	mk_end(t);
}

static void many_opaque(struct buf *t)
{
	mk_entry(t, '5', "d", "", NULL);
	mk_entry(t, '0', "d/mine", "", "x");
	for (int i = 0; i < 3000; i++) { /* they stay: who looks at each again for each marker takes a minute */
		char own[32];

		(void)snprintf(own, sizeof(own), "d/own%d", i);
		mk_entry(t, '0', own, "", "");
	}
	for (int i = 0; i < 20000; i++)
		mk_entry(t, '0', "d/.wh..wh..opq", "", NULL);
	mk_end(t);
}

/* Opaque markers from the inside out: a walk of all that is below at each would be quadratic. */
static void nested_opaque(struct buf *t)
{
	char name[1000];

	for (int depth = 150; depth > 0; depth--) {
		for (int i = 0; i < depth; i++)
			memcpy(name + 2 * i, "d/", 2);
		memcpy(name + 2 * depth, ".wh..wh..opq", 13);
		mk_long(t, 'L', name);
		mk_entry(t, '0', name, "", NULL);
		memcpy(name + 2 * depth, "mine", 5);
		mk_long(t, 'L', name);
		mk_entry(t, '0', name, "", NULL);
	}
	mk_end(t);
}

static void flip(struct buf *t)
{
	for (int i = 0; i < 200; i++) {
		mk_entry(t, '2', "x", "..", NULL);
		mk_entry(t, '5', "x", "", NULL);
		mk_entry(t, '0', "x/canary", "", "bad");
		mk_entry(t, '2', "x", "../..", NULL);
		mk_entry(t, '0', "x", "", "file");
		mk_entry(t, '1', "x", "x2", NULL);
		if (!i)
			t->n -= 512; /* x2 is not there yet */
		mk_entry(t, '0', "x2", "", "other");
	}
	mk_end(t);
}

#define OPAQUE(dir) \
	"test \"$(python3 -c 'import os;print(os.getxattr(\"" dir "\",\"trusted.overlay.opaque\").decode())')\" = y"
#define NOT_OPAQUE(dir) "python3 -c 'import os,sys;sys.exit(\"trusted.overlay.opaque\" in os.listxattr(\"" dir "\"))'"
#define WHITEOUT(f) "test \"$(stat -c %t:%T:%F '" f "')\" = '0:0:character special file'"
#define CONTENT(f, text) "test -f '" f "' && ! test -L '" f "' && test \"$(cat '" f "')\" = '" text "'"

static const struct hostile table[] = {
	/* names */
	{ "dotdot", ALL, NULL, "0|../x||y", NULL, CRIO_E_INVALID, "! test -e ../x" },
	{ "dotdot inside", ALL, NULL, "0|a/../../x||y", NULL, CRIO_E_INVALID, "! test -e ../x" },
	{ "dotdot harmless", O, NULL, "0|a/../x||y", NULL, CRIO_E_INVALID, NULL },
	{ "dotdot directory", ALL, NULL, "5|..||", NULL, CRIO_E_INVALID, NULL },
	{ "dotdot at the end", ALL, NULL, "5|a/..||", NULL, CRIO_E_INVALID, NULL },
	{ "three dots are a name", O, NULL, "0|...||y", NULL, 0, CONTENT("...", "y") },
	{ "absolute", ALL, NULL, "0|/x||y", NULL, 0, CONTENT("x", "y") },
	{ "slashes and dots", ALL, NULL, "5|.//a/./b//||\n0|.///a/b/./c||y", NULL, 0, CONTENT("a/b/c", "y") },
	{ "empty name", O, NULL, NULL, name_empty, CRIO_E_CORRUPT, NULL },
	{ "root is a file", O, NULL, "0|./||y", NULL, CRIO_E_INVALID, NULL },
	{ "root is a link", O, NULL, "2|/|/etc|", NULL, CRIO_E_INVALID, NULL },
	{ "root's own metadata", R, NULL, NULL, root_meta, 0, "test \"$(stat -c %a:%u:%g .)\" = 711:3:4" },
	{ "root's own metadata", O | U, NULL, NULL, root_meta, 0, "test \"$(stat -c %a:%u:%g .)\" = 700:0:0" },
	{ "component of 256", O, NULL, NULL, component_256, CRIO_E_INVALID, NULL },
	{ "component of 255", O, NULL, NULL, component_255, 0, "test -e a*a" },
	{ "name of 5001", O, NULL, NULL, name_5000, CRIO_E_INVALID, NULL },
	{ "name of 4095", ALL, NULL, NULL, deep_4095, 0, NULL },
	{ "name of 4095, replaced", ALL, NULL, NULL, deep_replaced, 0, CONTENT("a", "y") },
	{ "name of 2 MiB", O, NULL, NULL, long_name_huge, CRIO_E_EXHAUSTED, NULL },
	{ "link of 4999", O, NULL, NULL, link_long, CRIO_E_INVALID, NULL },
	{ "deep by links", ALL, NULL, NULL, deep_by_links, CRIO_E_INVALID, NULL },
	{ "not UTF-8, newline", ALL, NULL, "0|a\xff\x01\xfe||y", NULL, 0, "test -f $(printf 'a\\377\\001\\376')" },
	{ "v7 directory", O, NULL, NULL, v7_dir, 0, "test -d d" },
	{ "prefix with dotdot", O, NULL, NULL, ustar_prefix, CRIO_E_INVALID, "test -f pre/fix/name" },
	/* links */
	{ "file over link", ALL, NULL, "2|l|../canary|\n0|l||y", NULL, 0, CONTENT("l", "y") },
	{ "file over dangling link", ALL, NULL, "2|l|../new|\n0|l||y", NULL, 0, CONTENT("l", "y") " && ! test -e ../new" },
	{ "file through link up", ALL, NULL, "2|l|..|\n0|l/canary||y", NULL, 0, CONTENT("canary", "y") },
	{ "file through absolute link", ALL, NULL, "5|d||\n2|l|/d|\n0|l/f||y", NULL, 0, CONTENT("d/f", "y") },
	{ "file through link out", ALL, NULL, "2|l|/tmp|\n0|l/f||y", NULL, CRIO_E_INVALID, NULL },
	{ "file through two links", ALL, NULL, "2|a|b|\n2|b|../../..|\n0|a/canary||y", NULL, 0, CONTENT("canary", "y") },
	{ "file through a loop", ALL, NULL, "2|a|b|\n2|b|a|\n0|a/f||y", NULL, CRIO_E_INVALID, NULL },
	{ "file through proc", ALL, NULL, "2|l|/proc/self/root|\n0|l/tmp/f||y", NULL, CRIO_E_INVALID, NULL },
	{ "directory over link", ALL, NULL, "2|l|..|\n5|l||", NULL, 0, "test -d l && ! test -L l" },
	{ "directory over link, then below", ALL, NULL, "2|l|..|\n5|l||\n0|l/canary||y", NULL, 0, CONTENT("l/canary", "y") },
	{ "link over directory, then below", ALL, NULL, "5|l||\n0|l/a||x\n2|l|..|\n0|l/canary||y", NULL, 0,
	  "test -L l && " CONTENT("canary", "y") },
	{ "FIFO over link", ALL, NULL, "2|l|../canary|\n6|l||", NULL, 0, "test -p l" },
	{ "file below file", ALL, NULL, "0|f||x\n0|f/g||y", NULL, CRIO_E_INVALID, NULL },
	{ "file below FIFO", ALL, NULL, "6|f||\n0|f/g||y", NULL, CRIO_E_INVALID, NULL },
	{ "file over FIFO", ALL, NULL, "6|f||\n0|f||y", NULL, 0, CONTENT("f", "y") },
	{ "empty link", O, NULL, "2|l||", NULL, CRIO_E_INVALID, NULL },
	{ "link swaps", ALL, NULL, NULL, flip, 0, CONTENT("x2", "other") },
	/* hard links */
	{ "hard link up", ALL, NULL, "1|h|../canary|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link absolute", ALL, NULL, "1|h|/canary|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link through link", ALL, NULL, "2|d|..|\n1|h|d/canary|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link to link, then file", ALL, NULL, "2|s|../canary|\n1|h|s|\n0|h||y", NULL, 0, CONTENT("h", "y") },
	{ "hard link to directory", ALL, NULL, "5|d||\n1|h|d|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link to itself", ALL, NULL, "0|h||x\n1|h|h|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link to root", ALL, NULL, "1|h|.|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link to nothing", ALL, NULL, "1|h|x/y|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link to a whiteout", O, NULL, "0|.wh.f||\n1|h|f|", NULL, CRIO_E_INVALID, NULL },
	{ "hard link, then file over it", ALL, NULL, "0|a||x\n1|b|a|\n0|b||y", NULL, 0,
	  CONTENT("a", "x") " && " CONTENT("b", "y") },
	{ "hard link with size", O, NULL, NULL, link_with_size, 0, "test -f inner" },
	/* replacing */
	{ "file twice", ALL, NULL, "0|f||one\n0|f||two", NULL, 0, CONTENT("f", "two") },
	{ "file over full directory", ALL, NULL, "5|d||\n0|d/e/f||x\n0|d||y", NULL, 0, CONTENT("d", "y") },
	{ "directory over file", ALL, NULL, "0|d||x\n5|d||\n0|d/f||y", NULL, 0, CONTENT("d/f", "y") },
	{ "directory twice", ALL, NULL, "5|d||\n0|d/f||y\n5|d||", NULL, 0, CONTENT("d/f", "y") },
	/* whiteouts */
	{ "whiteout of nothing", ALL, NULL, "0|.wh.||", NULL, CRIO_E_INVALID, NULL },
	{ "whiteout of the root", ALL, NULL, "0|.wh..||", NULL, CRIO_E_INVALID, "test -d ." },
	{ "whiteout of the parent", ALL, NULL, "0|.wh...||", NULL, CRIO_E_INVALID, "test -d .." },
	{ "whiteout of a directory's parent", ALL, "mkdir d", "0|d/.wh...||", NULL, CRIO_E_INVALID, "test -d d" },
	{ "whiteout through link up", ALL, "mkdir d", "2|l|..|\n0|l/.wh.canary||", NULL, 0, NULL },
	{ "opaque through link up", R, "mkdir d; touch d/f", "2|l|..|\n0|l/.wh..wh..opq||", NULL, 0, NULL },
	{ "whiteout through lower link", R, "ln -s ../.. l", "0|l/.wh.canary||", NULL, 0, NULL },
	{ "whiteout of a link to outside", R, "ln -s ../canary l; mkdir d; ln -s ../.. d/l", "0|.wh.l||\n0|.wh.d||", NULL, 0,
	  "! test -L l && ! test -e d" },
	{ "whiteout removes", R, "mkdir -p d/e; touch d/f d/e/g", "0|d/.wh.f||\n0|d/.wh.e||", NULL, 0,
	  "test -d d && ! test -e d/f && ! test -e d/e" },
	{ "whiteout marks", O, NULL, "5|d||\n0|d/.wh.f||\n0|.wh.g||", NULL, 0, WHITEOUT("d/f") " && " WHITEOUT("g") },
	{ "whiteout twice", ALL, "touch f", "0|.wh.f||\n0|.wh.f||", NULL, 0, NULL },
	{ "whiteout, then the file", ALL, "echo old >f", "0|.wh.f||\n0|f||new", NULL, 0, CONTENT("f", "new") },
	{ "the file, then its whiteout", R, "echo old >f", "0|f||new\n0|.wh.f||", NULL, 0, CONTENT("f", "new") },
	{ "the file, then its whiteout", O, NULL, "0|f||new\n0|.wh.f||", NULL, 0, CONTENT("f", "new") },
	{ "whiteout, then a directory", O, NULL, "0|.wh.d||\n5|d||\n0|d/f||y", NULL, 0, CONTENT("d/f", "y") " && " OPAQUE("d") },
	{ "whiteout, then a file below", O, NULL, "0|.wh.d||\n0|d/f||y", NULL, 0, CONTENT("d/f", "y") " && " OPAQUE("d") },
	{ "a directory, then its whiteout", O, NULL, "5|d||\n0|d/f||y\n0|.wh.d||", NULL, 0,
	  CONTENT("d/f", "y") " && " OPAQUE("d") },
	{ "a directory, then its whiteout", R, "mkdir -p d/s; touch d/old d/s/old", "5|d||\n0|d/f||y\n0|d/s/f||z\n0|.wh.d||",
	  NULL, 0, CONTENT("d/f", "y") " && " CONTENT("d/s/f", "z") " && ! test -e d/old && ! test -e d/s/old" },
	{ "whiteout below a whiteout", O, NULL, "0|.wh.d||\n0|d/.wh.f||\n0|d/.wh..wh..opq||\n0|d/e/.wh.f||", NULL, 0,
	  WHITEOUT("d") },
	{ "whiteout below nothing", R, NULL, "0|d/.wh.f||\n0|d/.wh..wh..opq||", NULL, 0, "! test -e d" },
	{ "whiteout makes its directory", O, NULL, "0|d/e/.wh.f||", NULL, 0, WHITEOUT("d/e/f") " && " NOT_OPAQUE("d") },
	{ "opaque marks", O, NULL, "5|d||\n0|d/.wh..wh..opq||\n0|d/f||y", NULL, 0, CONTENT("d/f", "y") " && " OPAQUE("d") },
	{ "opaque of the root", R, "mkdir -p d/e; touch f d/g", "0|n||y\n0|d/n||z\n0|.wh..wh..opq||", NULL, 0,
	  CONTENT("n", "y") " && " CONTENT("d/n", "z") " && ! test -e f && ! test -e d/g && ! test -e d/e" },
	{ "opaque keeps what came before and after", R, "mkdir -p d/e; touch d/old d/e/old",
	  "0|d/e/new||a\n0|d/.wh..wh..opq||\n0|d/n2||b", NULL, 0,
	  CONTENT("d/e/new", "a") " && " CONTENT("d/n2", "b") " && ! test -e d/old && ! test -e d/e/old" },
	{ "opaque 20000 times", O | R, "mkdir d; touch d/$(seq -s ' d/' 3000)", NULL, many_opaque, 0, CONTENT("d/mine", "x") },
	{ "opaque nested", R, "p=; for i in $(seq 150); do p=${p}d/; done; mkdir -p $p; touch d/old ${p}old", NULL, nested_opaque,
	  0, "test -f d/d/d/mine && ! test -e d/old && test $(find . -name old | wc -l) = 0" },
	{ "AUFS leftovers", ALL, NULL, "5|.wh..wh.plnk||\n0|.wh..wh.plnk/1.2||x\n0|d/.wh..wh.aufs||", NULL, 0,
	  "test -z \"$(ls -A)\"" },
	{ "directory named like a whiteout", O, NULL, "0|.wh.d/f||y", NULL, 0, CONTENT(".wh.d/f", "y") },
	/* owners, modes, devices, attributes */
	{ "devices", ALL, NULL, NULL, devices, 0,
	  "test \"$(stat -c %t:%T:%a null)\" = 1:3:644 && test -b blk && test -p pipe" },
	{ "device out of range", O, NULL, NULL, device_range, CRIO_E_INVALID, NULL },
	{ "set-id bits", ALL, NULL, NULL, set_ids, 0,
	  "test \"$(stat -c %a:%u:%g su sg tmp | tr '\\n' ' ')\" = '4755:1000:1001 2775:0:50 1777:0:0 '" },
	{ "capabilities survive the hard link", ALL, NULL, NULL, caps, 0,
	  "getcap ping | grep -q cap_net_raw && test \"$(stat -c %h ping)\" = 2" },
	{ "owner -1", O, NULL, NULL, uid_minus_one, CRIO_E_INVALID, NULL },
	{ "owner 2^32-1", O, NULL, NULL, uid_all_ones, CRIO_E_INVALID, NULL },
	{ "owner 2^32 in pax", O, NULL, NULL, pax_uid_huge, CRIO_E_INVALID, NULL },
	{ "owner as text", O, NULL, NULL, pax_uid_text, CRIO_E_CORRUPT, NULL },
	{ "group not octal", O, NULL, NULL, gid_not_octal, CRIO_E_CORRUPT, NULL },
	{ "mode not octal", O, NULL, NULL, mode_not_octal, CRIO_E_CORRUPT, NULL },
	{ "time before 1970", O, NULL, NULL, mtime_before_1970, 0, "test \"$(stat -c %Y f)\" = -1" },
	{ "time out of all range", O, NULL, NULL, mtime_far, 0, "test -f f" },
	{ "time not octal", O, NULL, NULL, mtime_not_octal, CRIO_E_CORRUPT, NULL },
	{ "time as text", O, NULL, NULL, pax_mtime_text, CRIO_E_CORRUPT, NULL },
	{ "time with minus", O, NULL, NULL, pax_mtime_minus, 0, "test \"$(stat -c %.1Y f)\" = -1.5" },
	{ "attribute trusted.overlay.opaque", ALL, NULL, NULL, xattr_overlay, CRIO_E_INVALID, NULL },
	{ "attribute trusted.overlay.redirect", ALL, NULL, NULL, xattr_redirect, CRIO_E_INVALID, NULL },
	{ "attribute user.overlay.opaque", U, NULL, NULL, xattr_user_overlay, CRIO_E_INVALID, NULL },
	{ "attribute user.overlay.opaque elsewhere", O | R, NULL, NULL, xattr_user_overlay, 0, NULL },
	{ "attribute of no name space", O, NULL, NULL, xattr_unknown, 0, "test -f f" },
	{ "attribute without a name", O, NULL, NULL, xattr_nameless, CRIO_E_CORRUPT, NULL },
	{ "attribute with wrong capabilities", O, NULL, NULL, xattr_bad_caps, CRIO_E_INVALID, NULL },
	{ "attribute", ALL, NULL, NULL, xattr_user, 0,
	  "test \"$(python3 -c 'import os;print(os.getxattr(\"f\",\"user.a\").decode())')\" = b" },
	/* headers */
	{ "nothing at all", O, NULL, NULL, nothing, 0, "test -z \"$(ls -A)\"" },
	{ "no archive", O, NULL, NULL, rubbish, CRIO_E_CORRUPT, NULL },
	{ "wrong checksum", O, NULL, NULL, checksum_wrong, CRIO_E_CORRUPT, NULL },
	{ "one zero block", O, NULL, NULL, one_zero_block, CRIO_E_CORRUPT, "! test -e b" },
	{ "cut in a header", O, NULL, NULL, cut_in_header, CRIO_E_CORRUPT, NULL },
	{ "cut in data", O, NULL, NULL, cut_in_data, CRIO_E_CORRUPT, NULL },
	{ "cut in padding", O, NULL, NULL, cut_in_padding, 0, CONTENT("a", "text") },
	{ "no end", O, NULL, NULL, no_end, 0, CONTENT("a", "text") },
	{ "entries after the end", O, NULL, NULL, after_end, 0, "test -e a && ! test -e ../b" },
	{ "size negative", O, NULL, NULL, size_negative, CRIO_E_CORRUPT, NULL },
	{ "size of 72 bits", O, NULL, NULL, size_too_wide, CRIO_E_CORRUPT, NULL },
	{ "size of 64 bits", O, NULL, NULL, size_64_bits, CRIO_E_CORRUPT, NULL },
	{ "size not octal", O, NULL, NULL, size_not_octal, CRIO_E_CORRUPT, NULL },
	{ "size with minus", O, NULL, NULL, size_minus, CRIO_E_CORRUPT, NULL },
	{ "size of 2^63-1", O, NULL, NULL, size_huge, CRIO_E_EXHAUSTED, NULL },
	{ "size of 4 GiB, data missing", O, NULL, NULL, size_4g_missing, CRIO_E_CORRUPT, NULL },
	{ "type unknown", O, NULL, "Z|f||", NULL, CRIO_E_UNSUPPORTED, NULL },
	{ "type volume", O, NULL, "V|f||", NULL, CRIO_E_UNSUPPORTED, NULL },
	/* pax */
	{ "pax path up", ALL, NULL, NULL, pax_dotdot, CRIO_E_INVALID, NULL },
	{ "pax path absolute", ALL, NULL, NULL, pax_abs, 0, CONTENT("a/b", "content") },
	{ "pax path empty", O, NULL, NULL, pax_path_empty, 0, CONTENT("f", "content") },
	{ "pax path with NUL", O, NULL, NULL, pax_nul, CRIO_E_CORRUPT, NULL },
	{ "pax length short", O, NULL, NULL, pax_short, CRIO_E_CORRUPT, NULL },
	{ "pax length long", O, NULL, NULL, pax_long, CRIO_E_CORRUPT, NULL },
	{ "pax length zero", O, NULL, NULL, pax_zero, CRIO_E_CORRUPT, NULL },
	{ "pax length huge", O, NULL, NULL, pax_huge_length, CRIO_E_CORRUPT, NULL },
	{ "pax length negative", O, NULL, NULL, pax_minus_length, CRIO_E_CORRUPT, NULL },
	{ "pax without =", O, NULL, NULL, pax_no_equals, CRIO_E_CORRUPT, NULL },
	{ "pax without key", O, NULL, NULL, pax_no_key, CRIO_E_CORRUPT, NULL },
	{ "pax without newline", O, NULL, NULL, pax_no_newline, CRIO_E_CORRUPT, NULL },
	{ "pax without space", O, NULL, NULL, pax_no_space, CRIO_E_CORRUPT, NULL },
	{ "pax key with NUL", O, NULL, NULL, pax_key_nul, CRIO_E_CORRUPT, NULL },
	{ "pax of 1.1 MB", O, NULL, NULL, pax_over_limit, CRIO_E_EXHAUSTED, NULL },
	{ "pax of 1.2 MB in parts", O, NULL, NULL, pax_chain_over_limit, CRIO_E_EXHAUSTED, NULL },
	{ "pax size negative", O, NULL, NULL, pax_size_minus, CRIO_E_CORRUPT, NULL },
	{ "pax size as text", O, NULL, NULL, pax_size_text, CRIO_E_CORRUPT, NULL },
	{ "pax size of 2^63-1", O, NULL, NULL, pax_size_huge, CRIO_E_EXHAUSTED, NULL },
	{ "pax size of 2^63", O, NULL, NULL, pax_size_over, CRIO_E_CORRUPT, NULL },
	{ "pax global is not applied", ALL, NULL, NULL, pax_global, 0, "test \"$(stat -c %u f)\" = 0" },
	{ "pax before global is dropped", ALL, NULL, NULL, pax_then_global, 0, "test -f f && ! test -e other" },
	/* sparse files */
	{ "sparse", ALL, NULL, NULL, sparse_good, 0,
	  "test \"$(tr '\\0' . <f)\" = ..abc.....d........." },
	{ "sparse: overlap", O, NULL, NULL, sparse_overlap, CRIO_E_CORRUPT, NULL },
	{ "sparse: backwards", O, NULL, NULL, sparse_backwards, CRIO_E_CORRUPT, NULL },
	{ "sparse: beyond", O, NULL, NULL, sparse_beyond, CRIO_E_CORRUPT, NULL },
	{ "sparse: sum", O, NULL, NULL, sparse_sum, CRIO_E_CORRUPT, NULL },
	{ "sparse: wraps", O, NULL, NULL, sparse_wraps, CRIO_E_CORRUPT, NULL },
	{ "sparse: huge", O, NULL, NULL, sparse_huge, CRIO_E_EXHAUSTED, NULL },
	{ "sparse: text", O, NULL, NULL, sparse_text, CRIO_E_CORRUPT, NULL },
	{ "sparse: odd", O, NULL, NULL, sparse_odd, CRIO_E_CORRUPT, NULL },
	{ "sparse: 70000 parts", O, NULL, NULL, sparse_many, CRIO_E_EXHAUSTED, NULL },
	{ "sparse: a directory", O, NULL, NULL, sparse_dir, CRIO_E_CORRUPT, NULL },
	{ "sparse: two offsets", O, NULL, NULL, pax_sparse_pairs, CRIO_E_CORRUPT, NULL },
	{ "sparse: offset alone", O, NULL, NULL, pax_sparse_open, CRIO_E_CORRUPT, NULL },
	{ "sparse 1.0: text", O, NULL, NULL, sparse_10_text, CRIO_E_CORRUPT, NULL },
	{ "sparse 1.0: 10^8 parts", O, NULL, NULL, sparse_10_many, CRIO_E_EXHAUSTED, NULL },
	{ "sparse 1.0: runs out", O, NULL, NULL, sparse_10_runs_out, CRIO_E_CORRUPT, NULL },
	{ "sparse 1.0: sum", O, NULL, NULL, sparse_10_sum, CRIO_E_CORRUPT, NULL },
	{ "sparse 1.0: all hole", O, NULL, NULL, sparse_10_empty, 0, "test \"$(stat -c %s s)\" = 9" },
	{ "old sparse", O, NULL, NULL, gnu_sparse_good, 0, "test \"$(tr '\\0' . <s)\" = abcd...." },
	{ "old sparse: cut", O, NULL, NULL, gnu_sparse_cut, CRIO_E_CORRUPT, NULL },
	{ "old sparse: negative", O, NULL, NULL, gnu_sparse_minus, CRIO_E_CORRUPT, NULL },
	{ "old sparse: too small", O, NULL, NULL, gnu_sparse_small, CRIO_E_CORRUPT, NULL },
};

static void build_script(struct buf *t, const char *script)
{
	struct strv lines = STRV_INIT, f = STRV_INIT;

	assert_int_equal(str_split(script, '\n', &lines), 0);
	for (size_t i = 0; i < lines.n; i++) {
		strv_clear(&f);
		assert_int_equal(str_split(lines.v[i], '|', &f), 0);
		assert_true(f.n >= 3);
		mk_entry(t, f.v[0][0], f.v[1], f.v[2], f.n > 3 && *f.v[3] ? f.v[3] : NULL);
	}
	mk_end(t);
	strv_release(&lines);
	strv_release(&f);
}

#define CPU_MAX_S 6 /* no archive of a few megabytes may cost more; most take milliseconds */

static void run_one(const struct hostile *h, enum crio_whiteout style)
{
	cleanup_unpack_result struct unpack_result res = { 0 };
	cleanup_err crio_err err = ERR_INIT;
	cleanup_buf struct buf t = BUF_INIT;
	struct place p;
	int r;

	place_new(&p);
	if (h->before)
		assert_int_equal(mk_sh("cd '%s/root' && { %s; }", p.top, h->before), 0);
	if (h->build)
		h->build(&t);
	else
		build_script(&t, h->script);
	assert_false(buf_bad(&t));
	cleanup_close int split = place_file(&p);

	clock_t before = clock();
	r = mk_unpack(t.p, t.n, p.root, style, split, &res, &err);
	if (clock() - before > CPU_MAX_S * CLOCKS_PER_SEC)
		fail_msg("%s (style %d): it took %ld s of CPU time", h->name, (int)style, (long)((clock() - before) / CLOCKS_PER_SEC));
	if (r != h->code)
		fail_msg("%s (style %d): got %d (%s), expected %d", h->name, (int)style, r, err_text(&err), h->code);
	if (r && !err.msg)
		fail_msg("%s: no text", h->name);
	if (h->after && mk_sh("cd '%s/root' && { %s; }", p.top, h->after))
		fail_msg("%s (style %d): tree is not as expected", h->name, (int)style);
	if (!place_clean(&p))
		fail_msg("%s (style %d): something outside the tree was touched", h->name, (int)style);
	place_free(&p);
}

static void test_table(void **state)
{
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		for (int s = CRIO_WHITEOUT_REMOVE; s <= CRIO_WHITEOUT_OVERLAY_USER; s++)
			if (table[i].styles & (1 << s)) {
				run_one(&table[i], (enum crio_whiteout)s);
				n++;
			}
	print_message("%zu archives, %zu runs\n", ARRAY_SIZE(table), n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
	};

	if (geteuid()) {
		print_message("needs root: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
