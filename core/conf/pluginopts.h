/*
 * pluginopts.h: the options of a plugin, from its option table (sdk/crio/plugin.h). Values are kept as canonical strings:
 * BOOL "true" or "false", INT and MS (milliseconds) decimal, STRS joined with ','; a comma inside an element is not possible.
 * Unset options are absent. Thread-safe.
 *
 * The file <options_dir>/<kind>-<name>.conf is read with libconfuse:
 *	# plugins.d/runtime-crun.conf
 *	debug = true
 *	create_timeout = "90s"
 *	extra_args = { "--a", "--b" }
 */
#ifndef CONF_PLUGINOPTS_H
#define CONF_PLUGINOPTS_H

#include <crio/plugin.h>

#include "core/util/str.h"

/* Checks the table itself: names lower_snake_case and unique, types known, defaults valid. CRIO_E_INVALID. `what` names the
 * plugin in messages ("runtime plugin crun"). Rows may be of another size than ours (row->size is the stride). */
int pluginopts_check_table(const struct crio_option *rows, size_t n, const char *what, crio_err *err);

/* Row i of a table whose rows have the size they say. */
static inline const struct crio_option *pluginopts_row(const struct crio_option *rows, size_t i)
{
	return (const struct crio_option *)(const void *)((const char *)rows + i * (size_t)rows->size);
}
/* NULL: no such option. */
const struct crio_option *pluginopts_find(const struct crio_option *rows, size_t n, const char *name);

/* The table's defaults, canonical. ret is replaced on success. */
int pluginopts_defaults(const struct crio_option *rows, size_t n, struct kvs *ret, crio_err *err);
/* Sets into m what the file says. An absent file changes nothing. CRIO_E_INVALID with file and line for syntax, an unknown name, a
 * wrong type, a value out of range, "${", a relative path where CRIO_OPT_PATH is set; the message lists the names there are. */
int pluginopts_file(const struct crio_option *rows, size_t n, const char *path, struct kvs *m, crio_err *err);
/* Checks each of `settings` (as written by people) and sets it into m. `where` starts the messages ("runtimes.kata"). */
int pluginopts_merge(const struct crio_option *rows, size_t n, const char *where, const struct kvs *settings, struct kvs *m,
		     crio_err *err);
/* One value as a person wrote it -> canonical text, the caller's. */
int pluginopts_canon(const struct crio_option *row, const char *text, char **ret, crio_err *err);
/* The whole chain: defaults < <options_dir>/<kind_name>-<name>.conf < settings (may be NULL); then CRIO_OPT_REQUIRED. */
int pluginopts_load(const struct crio_option *rows, size_t n, const char *options_dir, const char *kind_name, const char *name,
		    const char *where, const struct kvs *settings, struct kvs *ret, crio_err *err);

/* Is the change from old to now only in CRIO_OPT_RELOADABLE options? When not, *ret_name is the first that is not (the
 * table's string). */
bool pluginopts_reloadable(const struct crio_option *rows, size_t n, const struct kvs *old, const struct kvs *now,
			   const char **ret_name);

#endif
