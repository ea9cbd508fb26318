/* caps.c: see caps.h. Names come from libcap, so that a newer library knows newer ones. */
#include "core/lifecycle/caps.h"

#include <ctype.h>
#include <sys/capability.h>

/* libcap's own name of a number, made once: cap_to_name allocates. */
static char cap_names[64][40];
static unsigned cap_count;

static void init_names(void)
{
	unsigned max = (unsigned)cap_max_bits();

	if (max > 64)
		max = 64;
	for (unsigned i = 0; i < max; i++) {
		char *s = cap_to_name((int)i);

		if (!s)
			break;
		for (size_t j = 0; j < sizeof(cap_names[i]) - 1 && s[j]; j++)
			cap_names[i][j] = (char)toupper((unsigned char)s[j]);
		(void)cap_free(s);
		cap_count = i + 1;
	}
}

static void need_names(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, init_names);
}

bool cap_parse(const char *name, unsigned *ret)
{
	need_names();
	if (!strncasecmp(name, "CAP_", 4))
		name += 4;
	for (unsigned i = 0; i < cap_count; i++) {
		if (strcasecmp(name, cap_names[i] + 4))
			continue;
		*ret = i;
		return true;
	}
	return false;
}

const char *cap_text(unsigned n)
{
	need_names();
	return n < cap_count ? cap_names[n] : "";
}

uint64_t caps_all(void)
{
	need_names();
	return cap_count >= 64 ? UINT64_MAX : CAP_BIT(cap_count) - 1;
}

int caps_from_names(const struct strv *names, uint64_t *ret, crio_err *err)
{
	uint64_t set = 0;
	unsigned c;

	for (size_t i = 0; names && i < names->n; i++) {
		if (!strcasecmp(names->v[i], "ALL"))
			set |= caps_all();
		else if (cap_parse(names->v[i], &c))
			set |= CAP_BIT(c);
		else
			return err_set(err, CRIO_E_INVALID, "unknown capability '%.64s'", names->v[i]);
	}
	*ret = set;
	return 0;
}

struct json_object *caps_json(uint64_t set)
{
	cleanup_json struct json_object *a = json_object_new_array();

	need_names();
	for (unsigned i = 0; a && i < cap_count; i++)
		if ((set & CAP_BIT(i)) && json_push_str(a, cap_names[i]) < 0)
			return NULL;
	return move_ptr(a);
}

static bool has_all(const struct strv *l)
{
	for (size_t i = 0; l && i < l->n; i++)
		if (!strcasecmp(l->v[i], "ALL"))
			return true;
	return false;
}

int caps_apply(uint64_t defaults, const struct strv *add, const struct strv *drop, uint64_t *ret, crio_err *err)
{
	bool add_all = has_all(add), drop_all = has_all(drop);
	uint64_t set = 0;
	unsigned c;

	if (add_all)
		set = caps_all();
	if (drop_all)
		set = 0;
	if (!add_all && !drop_all)
		set = defaults;
	for (size_t i = 0; add && i < add->n; i++) {
		if (!strcasecmp(add->v[i], "ALL"))
			continue;
		if (!cap_parse(add->v[i], &c))
			return err_set(err, CRIO_E_INVALID, "unknown capability \"%.64s\" to add", add->v[i]);
		set |= CAP_BIT(c);
	}
	for (size_t i = 0; drop && i < drop->n; i++)
		if (strcasecmp(drop->v[i], "ALL") && cap_parse(drop->v[i], &c))
			set &= ~CAP_BIT(c);
	*ret = set;
	return 0;
}
