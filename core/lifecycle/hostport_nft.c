/*
 * hostport_nft.c: host ports through nft(8), one transaction a change.
 *
 * A table a family: two maps (ports on every local address; on one address) and a chain that looks packets up in them, so that a
 * pod costs elements and no rules, plus a set of addresses whose traffic to themselves is masqueraded (a pod that reaches itself by its
 * host port). An element's comment says whose it is.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "core/exec/spawn.h"
#include "core/lifecycle/hostport_rules.h"
#include "core/util/json.h"

#define TABLE "crio-hostports"
#define SCRIPT_LIMIT (1u << 20)

static const char *family_name(int family)
{
	return family == AF_INET ? "ip" : "ip6";
}

/* nft's words for the table and what every pod shares. Adding what is there changes nothing; chains are made anew, which in one
 * transaction no packet sees. */
static void write_table(struct buf *b, int family)
{
	const char *f = family_name(family), *addr = family == AF_INET ? "ipv4_addr" : "ipv6_addr";

	buf_addf(b, "add table %s " TABLE " { comment \"HostPort rules created by CRI-O\" ; }\n", f);
	buf_addf(b, "add map %s " TABLE " hostports { type inet_proto . inet_service : %s . inet_service ; }\n", f, addr);
	buf_addf(b, "add map %s " TABLE " hostipports { type %s . inet_proto . inet_service : %s . inet_service ; }\n", f, addr, addr);
	buf_addf(b, "add set %s " TABLE " hairpins { type %s . %s ; }\n", f, addr, addr);
	buf_addf(b, "add chain %s " TABLE " hostports\nflush chain %s " TABLE " hostports\n", f, f);
	/* The mapping of one address wins over that of all. */
	buf_addf(b, "add rule %s " TABLE " hostports dnat %s addr . port to %s daddr . meta l4proto . th dport map @hostipports\n", f, f, f);
	buf_addf(b, "add rule %s " TABLE " hostports dnat %s addr . port to meta l4proto . th dport map @hostports\n", f, f);
	for (int out = 0; out < 2; out++) {
		const char *chain = out ? "output" : "prerouting";

		buf_addf(b, "add chain %s " TABLE " %s { type nat hook %s priority -100 ; }\n", f, chain, chain);
		buf_addf(b, "flush chain %s " TABLE " %s\n", f, chain);
		buf_addf(b, "add rule %s " TABLE " %s fib daddr type local goto hostports\n", f, chain);
	}
	buf_addf(b, "add chain %s " TABLE " masquerading { type nat hook postrouting priority 100 ; }\n", f);
	buf_addf(b, "flush chain %s " TABLE " masquerading\n", f);
	buf_addf(b, "add rule %s " TABLE " masquerading ct status & (dnat | snat) == dnat %s saddr . %s daddr @hairpins masquerade\n", f, f, f);
}

static int run_script(crio_call *call, const struct buf *script, const struct hostport_set *s, crio_err *err)
{
	static const char *const argv[] = {"nft", "-f", "-", NULL};

	return hostport_change(call, argv, script, s, err);
}

int hostport_nft_add(crio_call *call, const struct hostport_set *s, crio_err *err)
{
	const char *f = family_name(s->family);
	char hash[HOSTPORT_HASH_N + 1];
	struct buf b;
	int r;

	hostport_hash(s->id, hash);
	buf_init(&b, SCRIPT_LIMIT);
	write_table(&b, s->family);
	for (size_t i = 0; i < s->n; i++) {
		const struct hostport_rule *m = &s->v[i];

		if (*m->host_ip)
			buf_addf(&b, "create element %s " TABLE " hostipports { %s . %s . %u comment \"%s\" : %s . %u }\n", f, m->host_ip,
				 m->protocol, m->host_port, hash, s->ip, m->container_port);
		else
			buf_addf(&b, "create element %s " TABLE " hostports { %s . %u comment \"%s\" : %s . %u }\n", f, m->protocol,
				 m->host_port, hash, s->ip, m->container_port);
	}
	buf_addf(&b, "add element %s " TABLE " hairpins { %s . %s comment \"%s\" }\n", f, s->ip, s->ip, hash);
	r = run_script(call, &b, s, err);
	buf_release(&b);
	return r;
}

/* ---- removal: the elements with the pod's comment, as nft's JSON lists them ---- */

/* A number is not asked for its text: json-c would need memory for it. */
static bool word(struct json_object *o, struct buf *b)
{
	const char *s = json_object_is_type(o, json_type_string) ? json_object_get_string(o) : NULL;

	if (json_object_is_type(o, json_type_int))
		buf_addf(b, "%lld", (long long)json_object_get_int64(o));
	else if (s && *s && !strpbrk(s, " \t\n;{}\"@$"))
		buf_adds(b, s);
	else
		return false;
	return true;
}

/* {"concat": [a, b, c]} or a single value, as the script's "a . b . c". */
static bool key_words(struct json_object *key, struct buf *b)
{
	struct json_object *l = json_arr(key, "concat");

	for (size_t i = 0; l && i < json_object_array_length(l); i++) {
		if (i)
			buf_adds(b, " . ");
		if (!word(json_object_array_get_idx(l, i), b))
			return false;
	}
	return l != NULL;
}

/* An element: {"elem": {"val": KEY, "comment": C}}; of a map: [that, data]. One of the pod that is passed over would stay for good: false
 * when its key cannot be read. */
static bool write_removal(struct json_object *e, const char *hash, const char *family, const char *name, struct buf *b)
{
	struct json_object *in = json_object_is_type(e, json_type_array) ? json_object_array_get_idx(e, 0) : e;
	bool ok;
	struct buf key;

	in = json_obj(in, "elem");
	if (!in || !str_eq(json_str(in, "comment"), hash))
		return true;
	buf_init(&key, 256);
	ok = key_words(json_get(in, "val"), &key) && !(buf_bad(&key) && !key.oom);
	if (ok && !key.oom)
		buf_addf(b, "delete element %s " TABLE " %s { %s }\n", family, name, key.p);
	b->oom = b->oom || key.oom;
	buf_release(&key);
	return ok;
}

static bool write_removals(struct json_object *doc, const char *hash, const char *family, struct buf *b)
{
	bool ok = true;
	struct json_object *l = json_arr(doc, "nftables");

	for (size_t i = 0; l && i < json_object_array_length(l); i++) {
		struct json_object *o = json_object_array_get_idx(l, i), *m = json_obj(o, "map");

		if (!m)
			m = json_obj(o, "set");
		struct json_object *elems = m ? json_arr(m, "elem") : NULL;

		for (size_t k = 0; elems && k < json_object_array_length(elems); k++)
			ok = write_removal(json_object_array_get_idx(elems, k), hash, family, json_str(m, "name"), b) && ok;
	}
	return ok;
}

int hostport_nft_remove(crio_call *call, const struct hostport_set *s, crio_err *err)
{
	const char *const argv[] = {"nft", "-j", "list", "table", family_name(s->family), TABLE, NULL};
	cleanup_spawn_result struct spawn_result res = {0};
	cleanup_json struct json_object *doc = NULL;
	char hash[HOSTPORT_HASH_N + 1];
	struct buf b;
	int r = hostport_run(call, argv, NULL, &res, err);

	if (r < 0)
		return r;
	if (res.exit_code != 0) {
		if (res.err.p && strstr(res.err.p, "No such file"))
			return 0;
		return hostport_failed(&res, "nft", s, err);
	}
	r = json_parse(res.out.p, res.out.n, &doc, err);
	if (r < 0)
		return err_wrap(err, "list the host ports of pod sandbox %s: nft's answer", s->id);
	hostport_hash(s->id, hash);
	buf_init(&b, SCRIPT_LIMIT);
	if (!write_removals(doc, hash, family_name(s->family), &b)) {
		r = err_set(err, CRIO_E_IO, "host ports of pod sandbox %s: nft lists one of them in words that are not understood", s->id);
	} else if (b.n || buf_bad(&b)) {
		r = run_script(call, &b, s, err);
		r = r < 0 ? r : 1;
	}
	buf_release(&b);
	return r;
}
