/*
 * Which sysctls a pod may set. The list and the character rules are the whole defence: a value is written with one
 * write(2) to one file, and no text is ever joined with another and split again.
 */
#include <ctype.h>

#include "core/lifecycle/netns.h"
#include "core/util/fs.h"

#define SYSCTL_NAME_MAX 255
#define SYSCTL_VALUE_MAX 1024

enum owner { OWNER_NONE, OWNER_NET, OWNER_IPC };

static const struct {
	const char *name; /* in dotted form; a prefix when `prefix` */
	bool prefix;
	enum owner owner;
} allowed[] = {
    {"kernel.sem", false, OWNER_IPC}, {"kernel.shm", true, OWNER_IPC}, {"kernel.msg", true, OWNER_IPC},
    {"fs.mqueue.", true, OWNER_IPC},  {"net.", true, OWNER_NET},
};

/* True when name begins with (or is) the dotted row; its separators may be slashes. */
static bool row_matches(const char *name, const char *row, bool prefix)
{
	for (; *row; name++, row++) {
		if (*name != *row && !(*row == '.' && *name == '/'))
			return false;
	}
	return prefix ? *name != '\0' : *name == '\0';
}

static enum owner owner_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		if (row_matches(name, allowed[i].name, allowed[i].prefix))
			return allowed[i].owner;
	}
	return OWNER_NONE;
}

/* Components of [A-Za-z0-9_-] and, as interface names need, the separator that is not in use; none empty, none of dots.
 */
static bool name_ok(const char *name)
{
	size_t n = strlen(name);
	char last = '.';

	if (n == 0 || n > SYSCTL_NAME_MAX)
		return false;
	for (const char *p = name; *p; p++) {
		bool sep = *p == '.' || *p == '/';

		if (!sep && !isalnum((unsigned char)*p) && *p != '_' && *p != '-')
			return false;
		if (sep && (last == '.' || last == '/'))
			return false;
		last = *p;
	}
	return last != '.' && last != '/';
}

/* Numbers and words with blanks between them, not around them: "1024 65000", "0   2147483647", "cubic". */
static bool value_ok(const char *v)
{
	size_t n = strlen(v);
	bool blank = true;
	const char *first = v;

	if (n == 0 || n > SYSCTL_VALUE_MAX)
		return false;
	for (; *v; v++) {
		bool b = *v == ' ' || *v == '\t';

		if (b && blank && v == first)
			return false;
		if (!b && ((unsigned char)*v <= 0x20 || (unsigned char)*v >= 0x7f || *v == '+' || *v == '='))
			return false;
		blank = b;
	}
	return !blank;
}

static int format_check(const char *name, const char *value, crio_err *err)
{
	if (!name_ok(name))
		return err_set(err, CRIO_E_INVALID,
			       "sysctl name '%.*s' is malformed: letters, digits, '_' and '-' between single dots", 64,
			       name);
	if (!value_ok(value))
		return err_set(
		    err, CRIO_E_INVALID,
		    "value of sysctl '%s' is invalid: it must be printable words with spaces between them, "
		    "without '+' or '='",
		    name);
	return 0;
}

int sysctl_check(const char *name, const char *value, bool own_net, bool own_ipc, crio_err *err)
{
	enum owner o;
	int r = format_check(name, value, err);

	if (r < 0)
		return r;
	o = owner_of(name);
	if (o == OWNER_NONE)
		return err_set(err, CRIO_E_INVALID,
			       "sysctl '%s' is not whitelisted: allowed are kernel.sem, kernel.shm*, "
			       "kernel.msg*, fs.mqueue.* and net.*",
			       name);
	if (o == OWNER_NET && !own_net)
		return err_set(err, CRIO_E_INVALID, "sysctl '%s' not allowed with host net enabled", name);
	if (o == OWNER_IPC && !own_ipc)
		return err_set(err, CRIO_E_INVALID, "sysctl '%s' not allowed with host ipc enabled", name);
	return 0;
}

static bool two_ids(const char *s, uint32_t ret[2])
{
	for (int i = 0; i < 2; i++) {
		char *end;
		unsigned long long v;

		s += strspn(s, " \t");
		if (!isdigit((unsigned char)*s))
			return false;
		v = strtoull(s, &end, 10);
		if (v > UINT32_MAX || (*end && *end != ' ' && *end != '\t'))
			return false;
		ret[i] = (uint32_t)v;
		s = end;
	}
	return !s[strspn(s, " \t")];
}

int sysctl_ping_range(const char *name, const char *value, const struct id_map *gids, char **ret, crio_err *err)
{
	uint32_t v[2], host[2];

	if (!row_matches(name, "net.ipv4.ping_group_range", false))
		return 0;
	if (!two_ids(value, v))
		return err_set(err, CRIO_E_INVALID, "sysctl '%s': '%.64s' is not two group ids", name, value);
	if (v[0] == 0 && v[1] == INT32_MAX)
		v[1] = id_map_last(gids);
	for (int i = 0; i < 2; i++) {
		/* A range that ends before it begins is how nobody gets the right; there the ids are nobody's. */
		host[i] = v[0] > v[1] ? v[i] : id_to_host(gids, v[i]);
		if (host[i] == IDMAP_NONE)
			return err_set(err, CRIO_E_INVALID, "sysctl '%s': group id %u is not in the pod's user namespace", name, v[i]);
	}
	*ret = path_fmt("%u %u", host[0], host[1]);
	return *ret ? 1 : err_nomem(err);
}

int sysctl_parse(const char *text, struct kvs *m, crio_err *err)
{
	const char *eq = strchr(text, '=');
	cleanup_free char *name = NULL;
	int r;

	if (!*text)
		return 0;
	if (!eq)
		return err_set(err, CRIO_E_INVALID, "sysctl '%.*s' is not in key=value format", 128, text);
	name = strndup(text, (size_t)(eq - text));
	if (!name)
		return err_nomem(err);
	r = sysctl_check(name, eq + 1, true, true, err);
	if (r < 0)
		return r;
	return kvs_set(m, name, eq + 1) < 0 ? err_nomem(err) : 0;
}
