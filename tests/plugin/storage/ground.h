/*
 * ground.h: what the store's and the storage plugins' tests stand on: a mount namespace of their own, a directory below
 * /var/tmp, the real plugin host with the modules of this build. Needs root; ground_enter ends the program with 77
 * (skipped) without it or without a module.
 */
#ifndef TESTS_STORAGE_GROUND_H
#define TESTS_STORAGE_GROUND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/exec/spawn.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/store/store.h"
#include "core/util/digest.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "tests/tmp.h"

#define SEC 1000000000LL

struct ground {
	char dir[TEST_TMP_N];
	const char *driver;
	bool overlay; /* the driver is that */
	struct loop *loop;
	struct workers *workers;
	struct plugins *plugins;
	crio_call *call; /* without deadline */
};
extern struct ground ground;
#define CALL ground.call

/* The driver that a test program's name ends in. */
const char *ground_driver(const char *program);
/* Before any thread. driver: "overlay", or "btrfs" (then dir is a btrfs on a loop device). */
void ground_enter(const char *driver);
/* A second program on the directory of one that did. */
void ground_share(const char *driver, const char *dir);
void ground_leave(void);

/* Fails the test with the error's text unless code is 0. */
#define ok(expr)                                                                                                       \
	do {                                                                                                           \
		crio_err e_ = ERR_INIT, *err = &e_;                                                                    \
		int r_ = (expr);                                                                                       \
		if (r_ < 0)                                                                                            \
			fail_msg("%s: %s", #expr, err_text(&e_));                                                      \
		err_clear(&e_);                                                                                        \
	} while (0)
/* Fails unless the code is that one; prints nothing. */
#define fails(want_, expr)                                                                                             \
	do {                                                                                                           \
		crio_err e_ = ERR_INIT, *err = &e_;                                                                    \
		int r_ = (expr);                                                                                       \
		if (r_ != (want_))                                                                                     \
			fail_msg("%s: %s, expected %s: %s", #expr, err_code_name(r_), err_code_name(want_),            \
				 err_text(&e_));                                                                       \
		if (!e_.msg || e_.code != r_)                                                                          \
			fail_msg("%s: no error text", #expr);                                                          \
		err_clear(&e_);                                                                                        \
	} while (0)

/* A store under <dir>/<name>/{root,run}; a fresh plugin instance each time. */
struct store *open_store(const char *name);
struct store *open_store_as(const char *name, bool read_only, bool no_recover);
void wipe_store(const char *name); /* the files, after store_close */

/* A layer with one file `name` of content `text` on parent. diff digest: of name and text. The id is in ret. */
void make_layer(struct store *s, const char *parent, const char *name, const char *text, char ret[65]);
void fake_digest(const char *name, const char *text, char ret[DIGEST_TEXT_MAX]);
/* An image record with a config and a manifest made of `text` on top layer. The id is in ret. */
void make_image(struct store *s, const char *layer, const char *name, const char *text, char ret[65]);
void make_container(struct store *s, const char *image, const char *name, char ret[65]);

bool there(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *slurp(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "" when absent; the caller's */
void put(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Shell command in the ground's directory, $D: that directory. Its exit status; output in *out (may be NULL), the
 * caller's. */
int sh(char **out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
