/* fuzz_sysctl.c: "name=value" of the configuration and of pods. What is taken is one name of the list and one line of words. */
#include <stdint.h>

#include "core/lifecycle/netns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void check(const char *name, const char *value)
{
	static const char words[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	const char *c = name;

	/* Words with one separator between them: no path leads anywhere but below /proc/sys. */
	for (;;) {
		size_t k = strspn(c, words);

		must(k > 0);
		c += k;
		if (!*c)
			break;
		must(*c == '.' || *c == '/');
		c++;
	}
	must(str_starts(name, "net") || str_starts(name, "kernel") || str_starts(name, "fs"));
	must(*value && !strpbrk(value, "+=\n\r") && value[0] != ' ' && value[strlen(value) - 1] != ' ');
	for (const char *v = value; *v; v++)
		must((unsigned char)*v < 0x7f && ((unsigned char)*v >= 0x20 || *v == '\t'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_free char *text = strndup((const char *)data, n), *range = NULL;
	cleanup_kvs struct kvs m = KVS_INIT;
	struct id_mapping one = {.host_id = 100000, .length = 65536};
	const struct id_map gids = {&one, 1};
	crio_err e = ERR_INIT;

	if (!text)
		return 0;
	if (sysctl_parse(text, &m, &e) < 0) {
		must(*err_text(&e) && m.n == 0);
		err_clear(&e);
	}
	for (size_t i = 0; i < m.n; i++) {
		check(m.v[i].key, m.v[i].value);
		/* What belongs to a namespace that the pod has not is refused. */
		must(sysctl_check(m.v[i].key, m.v[i].value, false, false, NULL) < 0);
		must(sysctl_check(m.v[i].key, m.v[i].value, true, true, NULL) == 0);
	}
	if (sysctl_ping_range("net.ipv4.ping_group_range", text, &gids, &range, NULL) == 1)
		must(strspn(range, "0123456789 ") == strlen(range));
	return 0;
}
