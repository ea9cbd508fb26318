/* fuzz_toml.c: configuration files: what the parser takes is a tree within its limits, what it refuses has a message with a line. */
#include <stdint.h>

#include "core/conf/toml.h"
#include "core/util/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void walk(const struct toml_node *t, int depth)
{
	must(depth <= TOML_MAX_DEPTH + TOML_MAX_DOTS + 1 && t->line >= 0);
	must(t->type >= TOML_TABLE && t->type <= TOML_TIME);
	if (t->type == TOML_STR)
		must(t->str != NULL);
	must(t->type == TOML_TABLE || t->type == TOML_ARRAY || t->n == 0);
	for (size_t i = 0; i < t->n; i++) {
		must((t->type == TOML_TABLE) == (t->v[i].key != NULL));
		if (t->v[i].key)
			must(toml_get(t, t->v[i].key) != NULL);
		walk(&t->v[i], depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_toml struct toml_node *root = NULL;
	crio_err e = ERR_INIT;

	if (toml_parse((const char *)data, n, "f", &root, &e) < 0) {
		must(str_starts(err_text(&e), "f") && !root);
		err_clear(&e);
		return 0;
	}
	walk(root, 0);
	return 0;
}
