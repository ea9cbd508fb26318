/*
 * hostport_iptables.c: host ports through iptables-save(8) and iptables-restore(8), for kernels without nftables.
 *
 * Two chains a mapping, named after a hash of pod and port: KUBE-HP-* leads to the pod, CRIO-MASQ-* masquerades what a pod sends to
 * itself. Both are reached from a chain of all pods (KUBE-HOSTPORTS, CRIO-HOSTPORTS-MASQ), which the built-in chains lead to. What is
 * missing of the latter is made with the first mapping. A change is one run of iptables-restore, so it is made as a whole or not at
 * all. hostport.c lets one change in at a time.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "core/exec/spawn.h"
#include "core/lifecycle/hostport_rules.h"

#define ALL_PORTS "KUBE-HOSTPORTS"
#define ALL_MASQ "CRIO-HOSTPORTS-MASQ"
#define PORT_CHAIN "KUBE-HP-"
#define MASQ_CHAIN "CRIO-MASQ-"
#define SCRIPT_LIMIT (1u << 20)
#define NAME_MAX_N 32 /* of a chain, with its NUL: iptables allows 28 characters */

static const char *program(int family, bool restore)
{
	if (restore)
		return family == AF_INET ? "iptables-restore" : "ip6tables-restore";
	return family == AF_INET ? "iptables-save" : "ip6tables-save";
}

/* The nat table as text. */
static int save(crio_call *call, const struct hostport_set *s, struct spawn_result *ret, crio_err *err)
{
	const char *const argv[] = {program(s->family, false), "-t", "nat", NULL};
	int r = hostport_run(call, argv, NULL, ret, err);

	if (r < 0)
		return r;
	if (ret->exit_code != 0)
		return hostport_failed(ret, argv[0], s, err);
	/* Rules that nobody has seen whole must not be written anew. */
	if (ret->out_truncated)
		return err_set(err, CRIO_E_EXHAUSTED, "%s prints more than can be kept: host ports of pod sandbox %s stay as they are", argv[0],
			       s->id);
	return 0;
}

static int restore(crio_call *call, const struct buf *script, const struct hostport_set *s, crio_err *err)
{
	const char *const argv[] = {program(s->family, true), "-w", "10", "--noflush", NULL};

	return hostport_change(call, argv, script, s, err);
}

/* Upper case, as in the text that CRI-O hashes. */
static const char *protocol_of(const struct hostport_rule *m)
{
	return str_eq(m->protocol, "udp") ? "UDP" : str_eq(m->protocol, "sctp") ? "SCTP" : "TCP";
}

static void chain_name(const char *prefix, const struct hostport_set *s, const struct hostport_rule *m, char ret[NAME_MAX_N])
{
	char text[512], hash[HOSTPORT_HASH_N + 1];

	(void)snprintf(text, sizeof(text), "%s%u%s%s", s->id, m->host_port, protocol_of(m), m->host_ip);
	hostport_hash(text, hash);
	(void)snprintf(ret, NAME_MAX_N, "%s%s", prefix, hash);
}

/* A line of iptables-save that is `start` followed by a blank. */
static bool has_line(const char *saved, const char *start)
{
	size_t n = strlen(start);

	for (const char *p = saved; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, start, n) && p[n] == ' ')
			return true;
	return false;
}

/* A rule of `chain` that leads to `target`. */
static bool has_jump(const char *saved, const char *chain, const char *target)
{
	char start[64], end[64];

	(void)snprintf(start, sizeof(start), "-A %s ", chain);
	(void)snprintf(end, sizeof(end), " -j %s", target);
	for (const char *p = saved; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		size_t n = strcspn(p, "\n"), e = strlen(end);

		if (n > e && !strncmp(p, start, strlen(start)) && !strncmp(p + n - e, end, e))
			return true;
	}
	return false;
}

/* Naming a chain that is there would empty it. */
static void write_base(struct buf *b, const char *saved)
{
	static const char *const entries[] = {"OUTPUT", "PREROUTING"};

	if (!has_line(saved, ":" ALL_PORTS))
		buf_adds(b, ":" ALL_PORTS " - [0:0]\n");
	if (!has_line(saved, ":" ALL_MASQ))
		buf_adds(b, ":" ALL_MASQ " - [0:0]\n");
	/* At the end, so that rules for services are asked first. */
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		if (!has_jump(saved, entries[i], ALL_PORTS))
			buf_addf(b, "-A %s -m comment --comment \"kube hostport portals\" -m addrtype --dst-type LOCAL -j " ALL_PORTS "\n",
				 entries[i]);
	if (!has_jump(saved, "POSTROUTING", ALL_MASQ))
		buf_adds(b, "-A POSTROUTING -m comment --comment \"kube hostport masquerading\" -m conntrack --ctstate DNAT -j " ALL_MASQ "\n");
}

/* The pod's name goes into a quoted word. */
static void write_comment(struct buf *b, const struct hostport_set *s, const struct hostport_rule *m)
{
	buf_adds(b, " -m comment --comment \"");
	for (const char *p = s->name; *p && p < s->name + 200; p++)
		buf_addc(b, *p == '"' || *p == '\\' || (unsigned char)*p < ' ' ? '_' : *p);
	buf_addf(b, " hostport %u\"", m->host_port);
}

static void write_mapping(struct buf *b, const struct hostport_set *s, const struct hostport_rule *m)
{
	char ports[NAME_MAX_N], masq[NAME_MAX_N];
	bool v6 = s->family == AF_INET6;

	chain_name(PORT_CHAIN, s, m, ports);
	chain_name(MASQ_CHAIN, s, m, masq);
	/* First in their chains: rules that something left behind for the same port must not win. */
	buf_adds(b, "-I " ALL_PORTS);
	write_comment(b, s, m);
	buf_addf(b, " -m %s -p %s --dport %u -j %s\n", m->protocol, m->protocol, m->host_port, ports);
	buf_adds(b, "-I " ALL_MASQ);
	write_comment(b, s, m);
	buf_addf(b, " -j %s\n", masq);
	buf_addf(b, "-A %s", ports);
	write_comment(b, s, m);
	buf_addf(b, " -m %s -p %s", m->protocol, m->protocol);
	if (*m->host_ip)
		buf_addf(b, " -d %s", m->host_ip);
	buf_addf(b, " -j DNAT --to-destination=%s%s%s:%u\n", v6 ? "[" : "", s->ip, v6 ? "]" : "", m->container_port);
	buf_addf(b, "-A %s", masq);
	write_comment(b, s, m);
	buf_addf(b, " -m conntrack --ctorigdstport %u -m %s -p %s --dport %u -s %s -d %s -j MASQUERADE\n", m->host_port, m->protocol, m->protocol,
		 m->container_port, s->ip, s->ip);
}

int hostport_iptables_add(crio_call *call, const struct hostport_set *s, crio_err *err)
{
	cleanup_spawn_result struct spawn_result saved = {0};
	char name[NAME_MAX_N];
	struct buf b;
	int r = save(call, s, &saved, err);

	if (r < 0)
		return r;
	buf_init(&b, SCRIPT_LIMIT);
	buf_adds(&b, "*nat\n");
	for (size_t i = 0; i < s->n; i++) {
		chain_name(PORT_CHAIN, s, &s->v[i], name);
		buf_addf(&b, ":%s - [0:0]\n", name);
		chain_name(MASQ_CHAIN, s, &s->v[i], name);
		buf_addf(&b, ":%s - [0:0]\n", name);
	}
	write_base(&b, saved.out.p ? saved.out.p : "");
	for (size_t i = 0; i < s->n; i++)
		write_mapping(&b, s, &s->v[i]);
	buf_adds(&b, "COMMIT\n");
	r = restore(call, &b, s, err);
	buf_release(&b);
	return r;
}

/* Rules of `all` that lead to `chain`, as they were saved, are deleted; then the chain itself. */
static void write_removal(struct buf *b, const char *saved, const char *all, const char *chain)
{
	char start[64], end[64], line[64];

	(void)snprintf(line, sizeof(line), ":%s", chain);
	if (!has_line(saved, line))
		return;
	(void)snprintf(start, sizeof(start), "-A %s ", all);
	(void)snprintf(end, sizeof(end), " -j %s", chain);
	for (const char *p = saved; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		size_t n = strcspn(p, "\n"), e = strlen(end);

		if (n > e && !strncmp(p, start, strlen(start)) && !strncmp(p + n - e, end, e)) {
			buf_adds(b, "-D");
			buf_add(b, p + 2, n - 2);
			buf_addc(b, '\n');
		}
	}
	buf_addf(b, "-F %s\n-X %s\n", chain, chain);
}

int hostport_iptables_remove(crio_call *call, const struct hostport_set *s, crio_err *err)
{
	cleanup_spawn_result struct spawn_result saved = {0};
	char name[NAME_MAX_N];
	const char *text;
	struct buf b;
	size_t empty;
	int r = save(call, s, &saved, err);

	if (r < 0)
		return r;
	text = saved.out.p ? saved.out.p : "";
	buf_init(&b, SCRIPT_LIMIT);
	buf_adds(&b, "*nat\n");
	empty = b.n;
	for (size_t i = 0; i < s->n; i++) {
		chain_name(PORT_CHAIN, s, &s->v[i], name);
		write_removal(&b, text, ALL_PORTS, name);
		chain_name(MASQ_CHAIN, s, &s->v[i], name);
		write_removal(&b, text, ALL_MASQ, name);
	}
	r = 0;
	if (b.n > empty || buf_bad(&b)) {
		buf_adds(&b, "COMMIT\n");
		r = restore(call, &b, s, err);
		r = r < 0 ? r : 1;
	}
	buf_release(&b);
	return r;
}
