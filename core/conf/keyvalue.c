/* keyvalue.c: setting, comparing and writing the value of any key. */
#include <inttypes.h>
#include <strings.h>

#include "core/conf/keys.h"

/* Lists and maps of one key: more is a mistake, or an attack on a drop-in directory. */
#define VALUES_MAX 10000
#define STRING_MAX (64u << 10)

static void *at(const struct conf_key *k, void *base)
{
	return (char *)base + k->offset;
}

static const void *cat(const struct conf_key *k, const void *base)
{
	return (const char *)base + k->offset;
}

static char *const *str_at(const struct conf_key *k, const void *base)
{
	return (char *const *)cat(k, base);
}

static int name_index(const struct conf_key *k, const char *s)
{
	enum log_level l;

	for (int i = 0; k->names[i]; i++)
		if (!strcmp(k->names[i], s))
			return i;
	if (!strcmp(k->name, "log_level") && log_level_parse(s, &l))
		return (int)l;
	return -1;
}

static int names_error(const struct conf_key *k, const char *s, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	cleanup_free char *list = NULL;

	for (int i = 0; k->names[i]; i++)
		buf_addf(&b, "%s%s", i ? ", " : "", k->names[i]);
	list = buf_take(&b);
	if (!list)
		return err_nomem(err);
	if (!strcmp(k->name, "log_level"))
		return err_set(err, CRIO_E_INVALID, "not a valid logrus Level: \"%.200s\": expected one of %s", s, list);
	return err_set(err, CRIO_E_INVALID, "\"%.200s\" is not one of %s", s, list);
}

/* What holds for each string: of a list too. */
static int check_string(const struct conf_key *k, const char *s, crio_err *err)
{
	if (strlen(s) > STRING_MAX)
		return err_set(err, CRIO_E_INVALID, "longer than %u bytes", STRING_MAX);
	if (k->names && *s && name_index(k, s) < 0)
		return names_error(k, s, err);
	if ((k->flags & KEY_ABS) && *s && *s != '/')
		return err_set(err, CRIO_E_INVALID, "\"%.200s\" is not an absolute path", s);
	return 0;
}

static int set_str(const struct conf_key *k, void *base, const char *s, crio_err *err)
{
	char **p = at(k, base);
	char *copy;
	int r;

	/* An empty value of these keeps what was there: the default, or storage.conf's. */
	if ((k->flags & KEY_SET) && !*s && k->dflt) {
		if (str_set(*p))
			return 0;
		s = k->dflt;
	}
	r = check_string(k, s, err);
	if (r < 0)
		return r;
	copy = strdup(s);
	if (!copy)
		return err_nomem(err);
	free(*p);
	*p = copy;
	return 0;
}

static int set_int(const struct conf_key *k, void *base, int64_t v, crio_err *err)
{
	if ((k->min || k->max) && (v < k->min || v > k->max)) {
		if (k->max == INT64_MAX)
			return err_set(err, CRIO_E_INVALID, "%" PRId64 " is less than %" PRId64, v, k->min);
		return err_set(err, CRIO_E_INVALID, "%" PRId64 " is not between %" PRId64 " and %" PRId64, v, k->min, k->max);
	}
	*(int64_t *)at(k, base) = v;
	return 0;
}

static int set_enum(const struct conf_key *k, void *base, const char *s, crio_err *err)
{
	int v = name_index(k, *s ? s : k->dflt);

	if (v < 0)
		return names_error(k, s, err);
	*(int *)at(k, base) = v;
	return 0;
}

static int set_dur(const struct conf_key *k, void *base, const char *s, crio_err *err)
{
	int64_t ns;

	if (!duration_parse(s, &ns))
		return err_set(err, CRIO_E_INVALID, "\"%.200s\" is not a duration such as \"1m30s\"", s);
	return set_int(k, base, ns, err);
}

/* Drops earlier ones of equal entries. */
static int keep_last(struct strv *l)
{
	cleanup_strv struct strv out = STRV_INIT;

	for (size_t i = 0; i < l->n; i++) {
		bool again = false;
		for (size_t j = i + 1; j < l->n && !again; j++)
			again = !strcmp(l->v[i], l->v[j]);
		if (!again && strv_add(&out, l->v[i]) < 0)
			return CRIO_E_NOMEM;
	}
	strv_release(l);
	*l = out;
	out = (struct strv)STRV_INIT;
	return 0;
}

static int set_list(const struct conf_key *k, void *base, const char *const *v, size_t n, bool merge, crio_err *err)
{
	cleanup_strv struct strv l = STRV_INIT;
	struct strv *dst = at(k, base);
	int r;

	if (n > VALUES_MAX || dst->n > VALUES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d entries", VALUES_MAX);
	if (merge && strv_copy(&l, dst) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++) {
		r = check_string(k, v[i], err);
		if (r < 0)
			return r;
		if (strv_add(&l, v[i]) < 0)
			return err_nomem(err);
	}
	if (merge && keep_last(&l) < 0)
		return err_nomem(err);
	strv_release(dst);
	*dst = l;
	l = (struct strv)STRV_INIT;
	return 0;
}

int key_set_list(const struct conf_key *k, void *base, const char *const *v, size_t n, crio_err *err)
{
	return set_list(k, base, v, n, false, err);
}

static int set_text_list(const struct conf_key *k, void *base, const char *text, crio_err *err)
{
	cleanup_strv struct strv raw = STRV_INIT, l = STRV_INIT;

	if (*text && str_split(text, ',', &raw) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < raw.n; i++) {
		char *s = raw.v[i];
		size_t len;
		s += strspn(s, " \t");
		len = strlen(s);
		while (len && strchr(" \t", s[len - 1]))
			len--;
		if (strv_addn(&l, s, len) < 0)
			return err_nomem(err);
	}
	return set_list(k, base, (const char *const *)l.v, l.n, false, err);
}

static bool bool_parse(const char *s, bool *ret)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(s, yes[i]) || !strcmp(s, no[i])) {
			*ret = !strcmp(s, yes[i]);
			return true;
		}
	}
	return false;
}

int key_set_text(const struct conf_key *k, void *base, const char *text, crio_err *err)
{
	int64_t v;
	bool b;

	switch (k->type) {
	case KEY_STR:
		return set_str(k, base, text, err);
	case KEY_BOOL:
		if (!bool_parse(text, &b))
			return err_set(err, CRIO_E_INVALID, "\"%.200s\" is not true or false", text);
		*(bool *)at(k, base) = b;
		return 0;
	case KEY_INT:
		if (!str_to_i64(text, INT64_MIN, INT64_MAX, &v))
			return err_set(err, CRIO_E_INVALID, "\"%.200s\": %s", text,
				       text[strspn(text, "+-0123456789")] || !*text ? "not an integer" : "value out of range");
		return set_int(k, base, v, err);
	case KEY_STRS:
		return set_text_list(k, base, text, err);
	case KEY_DUR:
		return set_dur(k, base, text, err);
	case KEY_ENUM:
		return set_enum(k, base, text, err);
	case KEY_MAP:
		break;
	}
	return err_set(err, CRIO_E_INVALID, "can only be set in a file");
}

int key_set_default(const struct conf_key *k, void *base, crio_err *err)
{
	if (k->type == KEY_MAP || (!k->dflt && k->type != KEY_STR))
		return 0;
	return key_set_text(k, base, k->dflt ? k->dflt : "", err);
}

static int wrong_type(const struct conf_key *k, const struct toml_node *node, crio_err *err)
{
	return err_set(err, CRIO_E_INVALID, "expected a %s%s, found %s", key_type_text(k),
		       k->type == KEY_DUR ? " such as \"1m30s\"" : "", toml_type_name(node->type));
}

static int set_node_list(const struct conf_key *k, void *base, const struct toml_node *node, int *ret_line, crio_err *err)
{
	cleanup_free const char **v = NULL;

	v = calloc(node->n + 1, sizeof *v);
	if (!v)
		return err_nomem(err);
	for (size_t i = 0; i < node->n; i++) {
		if (node->v[i].type != TOML_STR) {
			*ret_line = node->v[i].line;
			return err_set(err, CRIO_E_INVALID, "expected a list of strings, element %zu is %s", i + 1,
				       toml_type_name(node->v[i].type));
		}
		v[i] = node->v[i].str;
	}
	return set_list(k, base, v, node->n, (k->flags & KEY_MERGE) != 0, err);
}

/* Plugin options may be written as they are meant; other maps hold strings only. */
static int map_value(const struct conf_key *k, const struct toml_node *e, struct buf *out, crio_err *err)
{
	bool typed = (k->flags & KEY_OURS) != 0;

	if (e->type == TOML_STR) {
		buf_adds(out, e->str);
		return 0;
	}
	if (typed && e->type == TOML_BOOL) {
		buf_adds(out, e->i ? "true" : "false");
		return 0;
	}
	if (typed && e->type == TOML_INT) {
		buf_addf(out, "%" PRId64, e->i);
		return 0;
	}
	if (typed && e->type == TOML_ARRAY) {
		for (size_t i = 0; i < e->n; i++) {
			if (e->v[i].type != TOML_STR || strchr(e->v[i].str, ','))
				return err_set(err, CRIO_E_INVALID, "%s: expected a list of strings without commas", e->key);
			buf_addf(out, "%s%s", i ? "," : "", e->v[i].str);
		}
		return 0;
	}
	return err_set(err, CRIO_E_INVALID, "%.200s: expected a string%s, found %s", e->key,
		       typed ? ", boolean, integer or list of strings" : "", toml_type_name(e->type));
}

static int set_node_map(const struct conf_key *k, void *base, const struct toml_node *node, int *ret_line, crio_err *err)
{
	cleanup_kvs struct kvs m = KVS_INIT;
	struct kvs *dst = at(k, base);
	int r;

	if (node->n > VALUES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d entries", VALUES_MAX);
	for (size_t i = 0; i < node->n; i++) {
		cleanup_buf struct buf b = BUF_INIT;
		cleanup_free char *s = NULL;
		r = map_value(k, &node->v[i], &b, err);
		if (r < 0) {
			*ret_line = node->v[i].line;
			return r;
		}
		s = buf_take(&b);
		if (!s || kvs_set(&m, node->v[i].key, s) < 0)
			return err_nomem(err);
	}
	kvs_release(dst);
	*dst = m;
	m = (struct kvs)KVS_INIT;
	return 0;
}

int key_set_node(const struct conf_key *k, void *base, const struct toml_node *node, int *ret_line, crio_err *err)
{
	*ret_line = node->line;
	switch (k->type) {
	case KEY_STR:
		return node->type == TOML_STR ? set_str(k, base, node->str, err) : wrong_type(k, node, err);
	case KEY_BOOL:
		if (node->type != TOML_BOOL)
			return wrong_type(k, node, err);
		*(bool *)at(k, base) = node->i != 0;
		return 0;
	case KEY_INT:
		return node->type == TOML_INT ? set_int(k, base, node->i, err) : wrong_type(k, node, err);
	case KEY_STRS:
		return node->type == TOML_ARRAY ? set_node_list(k, base, node, ret_line, err) : wrong_type(k, node, err);
	case KEY_DUR:
		if (node->type == TOML_INT)
			return set_int(k, base, node->i, err);
		return node->type == TOML_STR ? set_dur(k, base, node->str, err) : wrong_type(k, node, err);
	case KEY_ENUM:
		return node->type == TOML_STR ? set_enum(k, base, node->str, err) : wrong_type(k, node, err);
	case KEY_MAP:
		return node->type == TOML_TABLE ? set_node_map(k, base, node, ret_line, err) : wrong_type(k, node, err);
	}
	return err_set(err, CRIO_E_INTERNAL, "key without a type");
}

int key_copy(const struct conf_key *k, void *dst, const void *src, crio_err *err)
{
	switch (k->type) {
	case KEY_STR: {
		const char *s = *str_at(k, src);
		char *copy = strdup(s ? s : "");
		if (!copy)
			return err_nomem(err);
		free(*(char **)at(k, dst));
		*(char **)at(k, dst) = copy;
		return 0;
	}
	case KEY_BOOL:
		*(bool *)at(k, dst) = *(const bool *)cat(k, src);
		return 0;
	case KEY_INT:
	case KEY_DUR:
		*(int64_t *)at(k, dst) = *(const int64_t *)cat(k, src);
		return 0;
	case KEY_ENUM:
		*(int *)at(k, dst) = *(const int *)cat(k, src);
		return 0;
	case KEY_STRS:
		return strv_copy(at(k, dst), cat(k, src)) < 0 ? err_nomem(err) : 0;
	case KEY_MAP:
		return kvs_copy(at(k, dst), cat(k, src)) < 0 ? err_nomem(err) : 0;
	}
	return 0;
}

static bool maps_equal(const struct kvs *a, const struct kvs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const char *v = kvs_get(b, a->v[i].key);
		if (!v || strcmp(v, a->v[i].value) != 0)
			return false;
	}
	return true;
}

bool key_equal(const struct conf_key *k, const void *a, const void *b)
{
	const void *x = cat(k, a), *y = cat(k, b);

	switch (k->type) {
	case KEY_STR: {
		const char *s = *str_at(k, a), *t = *str_at(k, b);
		return !strcmp(s ? s : "", t ? t : "");
	}
	case KEY_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case KEY_INT:
	case KEY_DUR:
		return *(const int64_t *)x == *(const int64_t *)y;
	case KEY_ENUM:
		return *(const int *)x == *(const int *)y;
	case KEY_STRS: {
		const struct strv *l = x, *m = y;
		if (l->n != m->n)
			return false;
		for (size_t i = 0; i < l->n; i++)
			if (strcmp(l->v[i], m->v[i]) != 0)
				return false;
		return true;
	}
	case KEY_MAP:
		return maps_equal(x, y);
	}
	return false;
}

void key_release(const struct conf_key *k, void *base)
{
	switch (k->type) {
	case KEY_STR:
		free(*(char **)at(k, base));
		*(char **)at(k, base) = NULL;
		break;
	case KEY_STRS:
		strv_release(at(k, base));
		break;
	case KEY_MAP:
		kvs_release(at(k, base));
		break;
	case KEY_BOOL:
	case KEY_INT:
	case KEY_DUR:
	case KEY_ENUM:
		break;
	}
}

void toml_quote(const char *s, struct buf *out)
{
	buf_addc(out, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else if (c == '\n')
			buf_adds(out, "\\n");
		else if (c == '\t')
			buf_adds(out, "\\t");
		else if (c < 0x20 || c == 0x7f)
			buf_addf(out, "\\u%04x", c);
		else
			buf_addc(out, (char)c);
	}
	buf_addc(out, '"');
}

static void write_map(const struct kvs *m, struct buf *out)
{
	buf_adds(out, "{");
	for (size_t i = 0; i < m->n; i++) {
		buf_adds(out, i ? ", " : " ");
		toml_quote(m->v[i].key, out);
		buf_adds(out, " = ");
		toml_quote(m->v[i].value, out);
	}
	buf_adds(out, m->n ? " }\n" : "}\n");
}

void key_write(const struct conf_key *k, const void *base, const char *prefix, struct buf *out)
{
	const void *p = cat(k, base);
	char dur[DURATION_LEN];

	buf_addf(out, "%s%s = ", prefix, k->name);
	switch (k->type) {
	case KEY_STR:
		toml_quote(*str_at(k, base) ? *str_at(k, base) : "", out);
		break;
	case KEY_BOOL:
		buf_adds(out, *(const bool *)p ? "true" : "false");
		break;
	case KEY_INT:
		buf_addf(out, "%" PRId64, *(const int64_t *)p);
		break;
	case KEY_DUR:
		duration_format(*(const int64_t *)p, dur);
		toml_quote(dur, out);
		break;
	case KEY_ENUM:
		toml_quote(k->names[*(const int *)p], out);
		break;
	case KEY_STRS: {
		const struct strv *l = p;
		buf_adds(out, "[\n");
		for (size_t i = 0; i < l->n; i++) {
			buf_addf(out, "%s\t", prefix);
			toml_quote(l->v[i], out);
			buf_adds(out, ",\n");
		}
		buf_addf(out, "%s]", prefix);
		break;
	}
	case KEY_MAP:
		write_map(p, out);
		return;
	}
	buf_addc(out, '\n');
}

void key_text(const struct conf_key *k, const void *base, struct buf *out)
{
	const void *p = cat(k, base);
	char dur[DURATION_LEN];

	switch (k->type) {
	case KEY_STR:
		buf_adds(out, *str_at(k, base) ? *str_at(k, base) : "");
		break;
	case KEY_BOOL:
		buf_adds(out, *(const bool *)p ? "true" : "false");
		break;
	case KEY_INT:
		buf_addf(out, "%" PRId64, *(const int64_t *)p);
		break;
	case KEY_DUR:
		duration_format(*(const int64_t *)p, dur);
		buf_adds(out, dur);
		break;
	case KEY_ENUM:
		buf_adds(out, k->names[*(const int *)p]);
		break;
	case KEY_STRS: {
		const struct strv *l = p;
		for (size_t i = 0; i < l->n; i++)
			buf_addf(out, "%s%s", i ? ", " : "", l->v[i]);
		break;
	}
	case KEY_MAP:
		break;
	}
}

int keys_set_defaults(const struct conf_key *k, size_t n, void *base, crio_err *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = key_set_default(&k[i], base, err);
		if (r < 0)
			return err_wrap(err, "default of %s.%s", k[i].table, k[i].name);
	}
	return 0;
}

int keys_copy(const struct conf_key *k, size_t n, void *dst, const void *src, crio_err *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = key_copy(&k[i], dst, src, err);
		if (r < 0)
			return r;
	}
	return 0;
}

void keys_release(const struct conf_key *k, size_t n, void *base)
{
	for (size_t i = 0; i < n; i++)
		key_release(&k[i], base);
}

bool keys_equal(const struct conf_key *k, size_t n, const void *a, const void *b)
{
	for (size_t i = 0; i < n; i++)
		if (!key_equal(&k[i], a, b))
			return false;
	return true;
}
