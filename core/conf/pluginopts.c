/*
 * pluginopts.c: plugins.d files by libconfuse, and values from elsewhere by the same rules. libconfuse expands ${ENV}, cuts values at
 * NUL and keeps its lexer in globals, so "${" and NUL are refused before it sees the text, and one mutex goes round it.
 */
#include <confuse.h>
#include <fcntl.h>
#include <inttypes.h>
#include <strings.h>

#include "core/conf/keys.h"
#include "core/conf/pluginopts.h"
#include "core/util/fs.h"

#define FILE_LIMIT (64u << 10)
#define VALUE_LIMIT 4096
#define ROWS_MAX 256
#define NAME_LIMIT 64

const struct crio_option *pluginopts_find(const struct crio_option *rows, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		const struct crio_option *o = pluginopts_row(rows, i);
		if (!strcmp(o->name, name))
			return o;
	}
	return NULL;
}

static char *names_of(const struct crio_option *rows, size_t n)
{
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < n; i++)
		buf_addf(&b, "%s%s", i ? ", " : "", pluginopts_row(rows, i)->name);
	return buf_take(&b);
}

static int unknown(const struct crio_option *rows, size_t n, const char *name, crio_err *err)
{
	cleanup_free char *names = names_of(rows, n);

	if (!names)
		return err_nomem(err);
	if (!n)
		return err_set(err, CRIO_E_INVALID, "no option '%.100s': this plugin has none", name);
	return err_set(err, CRIO_E_INVALID, "no option '%.100s'; there are: %s", name, names);
}

/* ---- values */

static int check_text(const struct crio_option *row, const char *s, crio_err *err)
{
	if (strlen(s) > VALUE_LIMIT)
		return err_set(err, CRIO_E_INVALID, "%s: longer than %d bytes", row->name, VALUE_LIMIT);
	if (!str_is_printable(s) || !str_is_utf8(s, strlen(s)))
		return err_set(err, CRIO_E_INVALID, "%s: contains control characters or invalid UTF-8", row->name);
	if (strstr(s, "${"))
		return err_set(err, CRIO_E_INVALID, "%s: \"${\" is not allowed: variables are not expanded", row->name);
	if ((row->flags & CRIO_OPT_PATH) && *s && !path_is_clean_abs(s))
		return err_set(err, CRIO_E_INVALID, "%s: \"%.200s\" is not an absolute path without \"..\"", row->name, s);
	return 0;
}

static int canon_number(const struct crio_option *row, int64_t v, char **ret, crio_err *err)
{
	if ((row->min || row->max) && (v < row->min || v > row->max))
		return err_set(err, CRIO_E_INVALID, "%s: %" PRId64 "%s is not between %" PRId64 " and %" PRId64, row->name, v,
			       row->type == CRIO_OPT_MS ? " ms" : "", row->min, row->max);
	*ret = path_fmt("%" PRId64, v);
	return *ret ? 0 : err_nomem(err);
}

static int canon_bool(const struct crio_option *row, const char *text, char **ret, crio_err *err)
{
	static const char *const yes[] = { "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off", "0" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(text, yes[i]) != 0 && strcasecmp(text, no[i]) != 0)
			continue;
		*ret = strdup(strcasecmp(text, yes[i]) ? "false" : "true");
		return *ret ? 0 : err_nomem(err);
	}
	return err_set(err, CRIO_E_INVALID, "%s: \"%.100s\" is not true or false", row->name, text);
}

/* Comma-separated, blanks round each element cut, empty ones left out. */
static int canon_list(const struct crio_option *row, const char *text, char **ret, crio_err *err)
{
	cleanup_strv struct strv l = STRV_INIT;
	cleanup_buf struct buf b = BUF_INIT;

	if (str_split(text, ',', &l) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < l.n; i++) {
		char *s = l.v[i] + strspn(l.v[i], " "), *end = s + strlen(s);
		int r;
		while (end > s && end[-1] == ' ')
			*--end = '\0';
		if (!*s)
			continue;
		r = check_text(row, s, err);
		if (r < 0)
			return r;
		buf_addf(&b, "%s%s", b.n ? "," : "", s);
	}
	*ret = buf_take(&b);
	return *ret ? 0 : err_nomem(err);
}

int pluginopts_canon(const struct crio_option *row, const char *text, char **ret, crio_err *err)
{
	int64_t v;
	int r;

	switch (row->type) {
	case CRIO_OPT_STR:
		r = check_text(row, text, err);
		if (r < 0)
			return r;
		*ret = strdup(text);
		return *ret ? 0 : err_nomem(err);
	case CRIO_OPT_BOOL:
		return canon_bool(row, text, ret, err);
	case CRIO_OPT_INT:
		if (!str_to_i64(text, INT64_MIN, INT64_MAX, &v))
			return err_set(err, CRIO_E_INVALID, "%s: \"%.100s\" is not an integer", row->name, text);
		return canon_number(row, v, ret, err);
	case CRIO_OPT_STRS:
		if (strlen(text) > FILE_LIMIT)
			return err_set(err, CRIO_E_INVALID, "%s: longer than %u bytes", row->name, FILE_LIMIT);
		return canon_list(row, text, ret, err);
	case CRIO_OPT_MS:
		if (!duration_parse(text, &v) || (v < 0 && row->min >= 0))
			return err_set(err, CRIO_E_INVALID, "%s: \"%.100s\" is not a duration such as \"1m30s\"", row->name, text);
		return canon_number(row, v / 1000000, ret, err);
	default:
		return err_set(err, CRIO_E_INVALID, "%s: option type %u is unknown", row->name, row->type);
	}
}

/* ---- the table */

static bool name_valid(const char *s)
{
	return s && *s >= 'a' && *s <= 'z' && strlen(s) <= NAME_LIMIT && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

int pluginopts_check_table(const struct crio_option *rows, size_t n, const char *what, crio_err *err)
{
	if (n > ROWS_MAX || (n && !rows))
		return err_set(err, CRIO_E_INVALID, "%s: option table of %zu rows (at most %d)", what, n, ROWS_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct crio_option *o = pluginopts_row(rows, i);
		cleanup_free char *text = NULL;

		/* The stride is row 0's size: before any other field of a row is believed, it must have that size too. */
		if (rows->size < sizeof *o || rows->size > 4096 || o->size != rows->size)
			return err_set(err, CRIO_E_INVALID, "%s: option row %zu has size %u, expected at least %zu and all alike", what, i,
				       o->size, sizeof *o);
		if (!name_valid(o->name))
			return err_set(err, CRIO_E_INVALID, "%s: option row %zu: the name is not lower_snake_case", what, i);
		if (pluginopts_find(rows, i, o->name))
			return err_set(err, CRIO_E_INVALID, "%s: option %s is there twice", what, o->name);
		if (o->type < CRIO_OPT_STR || o->type > CRIO_OPT_MS || o->min > o->max || !o->help)
			return err_set(err, CRIO_E_INVALID, "%s: option %s: bad type, range or help", what, o->name);
		if (o->dflt && pluginopts_canon(o, o->dflt, &text, err) < 0)
			return err_wrap(err, "%s: default", what);
	}
	return 0;
}

int pluginopts_defaults(const struct crio_option *rows, size_t n, struct kvs *ret, crio_err *err)
{
	cleanup_kvs struct kvs m = KVS_INIT;

	for (size_t i = 0; i < n; i++) {
		const struct crio_option *o = pluginopts_row(rows, i);
		cleanup_free char *text = NULL;
		int r;

		if (!o->dflt)
			continue;
		r = pluginopts_canon(o, o->dflt, &text, err);
		if (r < 0)
			return r;
		if (kvs_set(&m, o->name, text) < 0)
			return err_nomem(err);
	}
	kvs_release(ret);
	*ret = m;
	m = (struct kvs)KVS_INIT;
	return 0;
}

/* ---- files */

static pthread_mutex_t confuse_lock = PTHREAD_MUTEX_INITIALIZER;

/* libconfuse's callbacks have no argument of their own; guarded by confuse_lock. */
static struct {
	const struct crio_option *rows;
	size_t n;
	struct buf why;   /* the first error */
	int line;
	bool nomem;
	struct kvs *out;
} parsing;

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char *text = NULL;

	if (parsing.why.n)
		return;
	parsing.line = cfg ? cfg->line : 0;
	if (vasprintf(&text, fmt, ap) < 0) {
		parsing.nomem = true;
		return;
	}
	buf_adds(&parsing.why, text);
	free(text);
}

/* What libconfuse parsed, as the text that pluginopts_canon takes. */
static int text_of(cfg_opt_t *opt, const struct crio_option *row, struct buf *b, crio_err *err)
{
	switch (row->type) {
	case CRIO_OPT_BOOL:
		buf_adds(b, cfg_opt_getnbool(opt, 0) ? "true" : "false");
		break;
	case CRIO_OPT_INT:
		buf_addf(b, "%ld", cfg_opt_getnint(opt, 0));
		break;
	case CRIO_OPT_STRS:
		for (unsigned i = 0; i < cfg_opt_size(opt); i++) {
			const char *s = cfg_opt_getnstr(opt, i);
			if (!s || strchr(s, ','))
				return err_set(err, CRIO_E_INVALID, "%s: an element contains a comma", row->name);
			buf_addf(b, "%s%s", i ? "," : "", s);
		}
		break;
	default:
		buf_adds(b, cfg_opt_getnstr(opt, 0) ? cfg_opt_getnstr(opt, 0) : "");
		break;
	}
	return 0;
}

/* Called when a value has been read, while the line is known. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct crio_option *row = pluginopts_find(parsing.rows, parsing.n, opt->name);
	cleanup_err crio_err e = ERR_INIT;
	cleanup_buf struct buf b = BUF_INIT;
	cleanup_free char *raw = NULL, *text = NULL;

	if (!row)
		return 0;
	if (text_of(opt, row, &b, &e) >= 0) {
		raw = buf_take(&b);
		if (raw && pluginopts_canon(row, raw, &text, &e) >= 0) {
			if (kvs_set(parsing.out, row->name, text) >= 0)
				return 0;
			raw = NULL;
		}
	}
	if (!e.code || e.code == CRIO_E_NOMEM)
		parsing.nomem = true;
	cfg_error(cfg, "%s", err_text(&e));
	return -1;
}

static cfg_opt_t option_for(const struct crio_option *row)
{
	cfg_opt_t str = CFG_STR(row->name, NULL, CFGF_NODEFAULT), list = CFG_STR_LIST(row->name, NULL, CFGF_NODEFAULT);
	cfg_opt_t num = CFG_INT(row->name, 0, CFGF_NODEFAULT), flag = CFG_BOOL(row->name, cfg_false, CFGF_NODEFAULT);

	switch (row->type) {
	case CRIO_OPT_BOOL:
		return flag;
	case CRIO_OPT_INT:
		return num;
	case CRIO_OPT_STRS:
		return list;
	default:
		return str;
	}
}

/* With confuse_lock held. */
static int parse_locked(const char *text, const char *path, crio_err *err)
{
	cfg_opt_t opts[ROWS_MAX + 1], end = CFG_END();
	cfg_t *cfg;
	int r;

	for (size_t i = 0; i < parsing.n; i++)
		opts[i] = option_for(pluginopts_row(parsing.rows, i));
	opts[parsing.n] = end;
	cfg = cfg_init(opts, CFGF_NONE);
	if (!cfg)
		return err_nomem(err);
	(void)cfg_set_error_function(cfg, on_error);
	for (size_t i = 0; i < parsing.n; i++)
		(void)cfg_set_validate_func(cfg, pluginopts_row(parsing.rows, i)->name, on_value);
	r = cfg_parse_buf(cfg, text);
	(void)cfg_free(cfg);
	if (parsing.nomem)
		return err_nomem(err);
	if (r == CFG_SUCCESS)
		return 0;
	return err_set(err, CRIO_E_INVALID, "%s:%d: %s", path, parsing.line, parsing.why.n ? parsing.why.p : "cannot be parsed");
}

static int check_raw(const char *text, size_t n, const char *path, crio_err *err)
{
	int line = 1;

	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			line++;
		else if (!text[i])
			return err_set(err, CRIO_E_INVALID, "%s:%d: contains a NUL byte", path, line);
		else if (text[i] == '$' && text[i + 1] == '{')
			return err_set(err, CRIO_E_INVALID, "%s:%d: \"${\" is not allowed: variables are not expanded", path, line);
	}
	return str_is_utf8(text, n) ? 0 : err_set(err, CRIO_E_INVALID, "%s: not UTF-8", path);
}

int pluginopts_file(const struct crio_option *rows, size_t n, const char *path, struct kvs *m, crio_err *err)
{
	cleanup_free char *text = NULL;
	cleanup_kvs struct kvs out = KVS_INIT;
	cleanup_err crio_err e = ERR_INIT;
	size_t len = 0;
	int r;

	if (n > ROWS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d options", ROWS_MAX);
	r = fs_read_file(AT_FDCWD, path, FILE_LIMIT, &text, &len, &e);
	if (r == CRIO_E_NOT_FOUND)
		return 0;
	if (r < 0)
		return err_move(err, &e);
	r = check_raw(text, len, path, err);
	if (r < 0)
		return r;
	{
		cleanup_unlock pthread_mutex_t *l = lock(&confuse_lock);
		parsing.rows = rows;
		parsing.n = n;
		parsing.line = 0;
		parsing.nomem = false;
		parsing.out = &out;
		buf_init(&parsing.why, 4096);
		r = parse_locked(text, path, err);
		buf_release(&parsing.why);
	}
	/* libconfuse names the option, but not those there are. */
	if (r < 0 && r != CRIO_E_NOMEM && strstr(err_text(err), "no such option")) {
		cleanup_free char *names = names_of(rows, n), *was = strdup(err_text(err));
		return names && was ? err_set(err, r, "%s; there are: %s", was, names) : err_nomem(err);
	}
	for (size_t i = 0; i < out.n && r >= 0; i++)
		if (kvs_set(m, out.v[i].key, out.v[i].value) < 0)
			return err_nomem(err);
	return r;
}

/* ---- all sources */

int pluginopts_merge(const struct crio_option *rows, size_t n, const char *where, const struct kvs *settings, struct kvs *m,
		     crio_err *err)
{
	for (size_t i = 0; settings && i < settings->n; i++) {
		const struct crio_option *row = pluginopts_find(rows, n, settings->v[i].key);
		cleanup_free char *text = NULL;
		int r;

		if (!row)
			r = unknown(rows, n, settings->v[i].key, err);
		else
			r = pluginopts_canon(row, settings->v[i].value, &text, err);
		if (r < 0)
			return err_wrap(err, "%s", where);
		if (kvs_set(m, row->name, text) < 0)
			return err_nomem(err);
	}
	return 0;
}

int pluginopts_load(const struct crio_option *rows, size_t n, const char *options_dir, const char *kind_name, const char *name,
		    const char *where, const struct kvs *settings, struct kvs *ret, crio_err *err)
{
	cleanup_kvs struct kvs m = KVS_INIT;
	cleanup_free char *path = path_fmt("%s/%s-%s.conf", options_dir ? options_dir : "", kind_name, name);
	int r;

	if (!path)
		return err_nomem(err);
	r = pluginopts_defaults(rows, n, &m, err);
	if (r >= 0 && str_set(options_dir))
		r = pluginopts_file(rows, n, path, &m, err);
	if (r >= 0)
		r = pluginopts_merge(rows, n, where, settings, &m, err);
	for (size_t i = 0; i < n && r >= 0; i++) {
		const struct crio_option *o = pluginopts_row(rows, i);
		const char *v = kvs_get(&m, o->name);
		if ((o->flags & CRIO_OPT_REQUIRED) && !str_set(v))
			r = err_set(err, CRIO_E_INVALID, "%s: option %s (%s) must be set, in %s or in crio.conf", where, o->name, o->help,
				    path);
	}
	if (r < 0)
		return r;
	kvs_release(ret);
	*ret = m;
	m = (struct kvs)KVS_INIT;
	return 0;
}

bool pluginopts_reloadable(const struct crio_option *rows, size_t n, const struct kvs *old, const struct kvs *now,
			   const char **ret_name)
{
	for (size_t i = 0; i < n; i++) {
		const struct crio_option *o = pluginopts_row(rows, i);
		const char *a = kvs_get(old, o->name), *b = kvs_get(now, o->name);

		if ((o->flags & CRIO_OPT_RELOADABLE) || (!a && !b) || (a && b && !strcmp(a, b)))
			continue;
		*ret_name = o->name;
		return false;
	}
	return true;
}
