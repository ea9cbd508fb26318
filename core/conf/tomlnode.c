/* tomlnode.c: the part of toml.h that needs no toml++. */
#include <fcntl.h>
#include <strings.h>

#include "core/conf/toml.h"
#include "core/util/fs.h"

const char *toml_type_name(enum toml_type t)
{
	switch (t) {
	case TOML_TABLE:
		return "a table";
	case TOML_ARRAY:
		return "an array";
	case TOML_STR:
		return "a string";
	case TOML_INT:
		return "an integer";
	case TOML_FLOAT:
		return "a float";
	case TOML_BOOL:
		return "a boolean";
	case TOML_TIME:
		return "a date or time";
	}
	return "an unknown value";
}

const struct toml_node *toml_get(const struct toml_node *t, const char *key)
{
	const struct toml_node *folded = NULL;

	if (!t || t->type != TOML_TABLE)
		return NULL;
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->v[i].key, key))
			return &t->v[i];
		if (!folded && !strcasecmp(t->v[i].key, key))
			folded = &t->v[i];
	}
	return folded;
}

int toml_read(const char *path, struct toml_node **ret, crio_err *err)
{
	cleanup_free char *text = NULL;
	size_t n = 0;
	int r;

	/* Scripts name /dev/null for "nothing". */
	if (!strcmp(path, "/dev/null"))
		return toml_parse("", 0, path, ret, err);
	r = fs_read_file(AT_FDCWD, path, TOML_MAX, &text, &n, err);
	if (r < 0)
		return r;
	return toml_parse(text, n, path, ret, err);
}
