/* hostport.c: see hostport.h. Which mappings go where, in which way, and whose turn it is. */
#include "core/lifecycle/hostport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/exec/spawn.h"
#include "core/lifecycle/conntrack.h"
#include "core/lifecycle/hostport_rules.h"
#include "core/lifecycle/inner.h"
#include "core/util/digest.h"
#include "core/util/failpoint.h"
#include "core/util/log.h"

#define OUT_LIMIT (16u << 20) /* of a program's output: iptables-save prints all of the nat table */

static const int families[] = {AF_INET, AF_INET6};

/* iptables' rules are read, changed and written back, which nobody else of us may do meanwhile. A turn may outlast a program's
 * hang, so it is waited for with the call's deadline and not by a lock. */
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER; /* of the monotonic clock: hostport_turn's first use sets it up */
static bool turn_taken; /* guarded by turn_lock */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void set_up(void)
{
	pthread_condattr_t a;

	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&turn_changed, &a);
	(void)pthread_condattr_destroy(&a);
}

static void wake(void *arg)
{
	(void)arg;
	(void)pthread_mutex_lock(&turn_lock);
	(void)pthread_cond_broadcast(&turn_changed);
	(void)pthread_mutex_unlock(&turn_lock);
}

static int turn_take(crio_call *call, crio_err *err)
{
	int watch, r = 0;

	(void)pthread_once(&once, set_up);
	watch = call_on_cancel(call, wake, NULL, err);
	if (watch < 0)
		return watch;
	(void)pthread_mutex_lock(&turn_lock);
	while (turn_taken && !call_over(call))
		(void)cond_wait_until(&turn_changed, &turn_lock, call_deadline(call));
	if (turn_taken)
		r = call_check(call, "wait for another change of the host's ports", err);
	else
		turn_taken = true;
	(void)pthread_mutex_unlock(&turn_lock);
	if (watch > 0)
		call_off_cancel(call, watch);
	return r;
}

static void turn_give(void)
{
	(void)pthread_mutex_lock(&turn_lock);
	turn_taken = false;
	(void)pthread_cond_signal(&turn_changed);
	(void)pthread_mutex_unlock(&turn_lock);
}

void hostport_hash(const char *text, char ret[HOSTPORT_HASH_N + 1])
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	char hex[DIGEST_TEXT_MAX];
	unsigned bits = 0, n_bits = 0;
	const char *p;

	digest_of(text, strlen(text), hex);
	p = digest_hex(hex);
	for (size_t o = 0; o < HOSTPORT_HASH_N;) {
		unsigned v = (unsigned)(*p <= '9' ? *p - '0' : *p - 'a' + 10);

		p++;
		bits = (bits << 4 | v) & 0xffff;
		n_bits += 4;
		if (n_bits >= 5) {
			n_bits -= 5;
			ret[o++] = abc[bits >> n_bits & 31];
		}
	}
	ret[HOSTPORT_HASH_N] = '\0';
}

int hostport_run(crio_call *call, const char *const *argv, const char *text, struct spawn_result *ret, crio_err *err)
{
	static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
	struct spawn s = SPAWN_INIT;
	cleanup_free char *path = NULL;
	cleanup_err crio_err why = ERR_INIT;
	int r = spawn_find(argv[0], NULL, &path, &why);

	if (r < 0) /* Only a program that is not there makes this way one that does not work. */
		return err_set(err, r == CRIO_E_NOT_FOUND ? CRIO_E_UNSUPPORTED : r, "map host ports: %s", err_text(&why));
	s.path = path;
	s.argv = argv;
	s.env = env;
	return spawn_capture(&s, call, text, text ? strlen(text) : 0, OUT_LIMIT, 4096, ret, err);
}

static bool unsupported(const char *said)
{
	return strstr(said, "not supported") || strstr(said, "upgrade your kernel") || strstr(said, "does not exist (do you need to insmod") ||
	       strstr(said, "Unable to initialize");
}

int hostport_failed(const struct spawn_result *r, const char *what, const struct hostport_set *s, crio_err *err)
{
	const char *said = r->err.p ? r->err.p : "";

	if (unsupported(said))
		return err_set(err, CRIO_E_UNSUPPORTED, "%s: %.400s", what, said);
	if (strstr(said, "File exists"))
		return err_set(err, CRIO_E_EXISTS, "map host ports of pod sandbox %s: another pod has one of them: %.400s", s->id, said);
	return err_set(err, CRIO_E_IO, "map host ports of pod sandbox %s: %s ended with %d: %.400s", s->id, what, r->exit_code, said);
}

int hostport_change(crio_call *call, const char *const *argv, const struct buf *script, const struct hostport_set *s, crio_err *err)
{
	cleanup_spawn_result struct spawn_result res = {0};
	int r;

	if (buf_bad(script))
		return script->oom ? err_nomem(err)
				   : err_set(err, CRIO_E_EXHAUSTED, "pod sandbox %s has more port mappings than can be made at once", s->id);
	r = hostport_run(call, argv, script->p, &res, err);
	return r < 0 || res.exit_code == 0 ? r : hostport_failed(&res, argv[0], s, err);
}

static int family_of(const char *ip)
{
	struct in6_addr a;

	return inet_pton(AF_INET, ip, &a) == 1 ? AF_INET : inet_pton(AF_INET6, ip, &a) == 1 ? AF_INET6 : 0;
}

/* What no port or address can be: such a mapping is refused, and never was made. */
static int mapping_check(const struct port_mapping *m, crio_err *err)
{
	if (m->host_port > 65535 || m->container_port < 1 || m->container_port > 65535 || (unsigned)m->protocol > PROTO_SCTP)
		return err_set(err, CRIO_E_INVALID, "port mapping of host port %d to port %d: no such port", m->host_port, m->container_port);
	if (str_set(m->host_ip) && !family_of(m->host_ip))
		return err_set(err, CRIO_E_INVALID, "port mapping of host port %d: '%.64s' is no address", m->host_port, m->host_ip);
	return 0;
}

/* Those of the pod's mappings that concern the family. rules has room for n. */
static size_t rules_for(int family, const struct port_mapping *ports, size_t n, struct hostport_rule *rules)
{
	static const char *const protocols[] = {"tcp", "udp", "sctp"};
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		const struct port_mapping *m = &ports[i];
		const char *ip = m->host_ip ? m->host_ip : "";

		if (m->host_port <= 0 || mapping_check(m, NULL) < 0 || (*ip && family_of(ip) != family))
			continue;
		rules[k++] = (struct hostport_rule){.protocol = protocols[m->protocol],
						    .host_port = (uint16_t)m->host_port,
						    .container_port = (uint16_t)m->container_port,
						    .host_ip = str_eq(ip, "0.0.0.0") || str_eq(ip, "::") ? "" : ip};
	}
	return k;
}

static int add_in_turn(crio_call *call, const struct hostport_set *s, crio_err *err)
{
	cleanup_err crio_err nft = ERR_INIT;
	int r = hostport_nft_add(call, s, &nft);

	if (r == CRIO_E_UNSUPPORTED) {
		cleanup_err crio_err ipt = ERR_INIT;

		log_debug("Host ports of pod sandbox %s: no nftables: %s", s->id, err_text(&nft));
		r = hostport_iptables_add(call, s, &ipt);
		if (r == CRIO_E_UNSUPPORTED)
			return err_set(err, CRIO_E_UNAVAILABLE, "neither nftables nor iptables works here: %s; %s", err_text(&nft), err_text(&ipt));
		if (r < 0)
			err_move(err, &ipt);
		return r;
	}
	if (r < 0)
		err_move(err, &nft);
	return r;
}

/* The way that is not used now may have been when the pod was made. */
static int remove_in_turn(crio_call *call, const struct hostport_set *s, crio_err *err)
{
	int nft = hostport_nft_remove(call, s, err), ipt;

	if (nft != 0 && nft != CRIO_E_UNSUPPORTED)
		return nft < 0 ? nft : 0;
	ipt = hostport_iptables_remove(call, s, err);
	return ipt < 0 && ipt != CRIO_E_UNSUPPORTED ? ipt : 0;
}

/* For each family that has rules. ips: to add; NULL to remove. */
static int each_family(crio_call *call, const char *id, const char *name, const struct strv *ips, const struct port_mapping *ports, size_t n,
		       crio_err *err)
{
	cleanup_free struct hostport_rule *rules = calloc(n + 1, sizeof(*rules));
	int r = rules ? 0 : err_nomem(err);

	for (size_t f = 0; r == 0 && f < ARRAY_SIZE(families); f++) {
		struct hostport_set s = {.family = families[f], .id = id, .name = name, .v = rules};

		for (size_t i = 0; ips && !s.ip && i < ips->n; i++)
			if (family_of(ips->v[i]) == s.family)
				s.ip = ips->v[i];
		if (ips && !s.ip)
			continue;
		s.n = rules_for(s.family, ports, n, rules);
		if (!s.n)
			continue;
		r = turn_take(call, err);
		if (r < 0)
			break;
		r = ips ? add_in_turn(call, &s, err) : remove_in_turn(call, &s, err);
		turn_give();
		for (size_t i = 0; r == 0 && ips && i < s.n; i++)
			if (str_eq(rules[i].protocol, "udp"))
				conntrack_forget_udp(s.family, rules[i].host_port);
	}
	return r;
}

int hostport_add(crio_call *call, const char *id, const char *name, const struct strv *ips, const struct port_mapping *ports, size_t n,
		 crio_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (ports[i].host_port > 0)
			r = mapping_check(&ports[i], err);
	if (r < 0)
		return r;
	r = FAILPOINT("hostport.add", err);
	r = r < 0 ? r : each_family(call, id, name, ips, ports, n, err);
	r = r < 0 ? r : FAILPOINT("hostport.added", err);
	if (r < 0) {
		cleanup_err crio_err why = ERR_INIT;

		/* One family may have been done. */
		if (each_family(call, id, name, NULL, ports, n, &why) < 0)
			log_warn("Host ports of pod sandbox %s are left to its removal: %s", id, err_text(&why));
	}
	return r;
}

int hostport_remove(crio_call *call, const char *id, const struct port_mapping *ports, size_t n, crio_err *err)
{
	int r = FAILPOINT("hostport.remove", err);

	return r < 0 ? r : each_family(call, id, "", NULL, ports, n, err);
}
