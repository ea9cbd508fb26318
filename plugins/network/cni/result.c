/*
 * Results. Up to 0.2.0 a result has one address of each family (`ip4`, `ip6`); from 0.3.0 on it has a list `ips`, whose
 * rows carry a `version` until 0.4.0 and none from 1.0.0 on: the address itself tells.
 */
#include <arpa/inet.h>

#include "cni.h"

#define IPS_MAX 256

int cni_result_check(struct cni *c, struct json_object *result, crio_err *err)
{
	const char *v = cni_json_str(result, "cniVersion");

	if (!cni_version_known(v))
		return c->host->fail(err, CRIO_E_CORRUPT,
				     "result has the unknown cniVersion '%.32s' (0.1.0 to " CNI_NEWEST " are known)",
				     v);
	return 0;
}

/* "10.0.0.5/16" -> family and the address in its usual form. */
static int address(const char *text, char ret[INET6_ADDRSTRLEN])
{
	char host[INET6_ADDRSTRLEN + 1];
	unsigned char bin[sizeof(struct in6_addr)];
	size_t n = strcspn(text, "/");
	int family = AF_INET;

	if (n == 0 || n >= sizeof(host))
		return -1;
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, bin) != 1) {
		family = AF_INET6;
		if (inet_pton(AF_INET6, host, bin) != 1)
			return -1;
	}
	return inet_ntop(family, bin, ret, INET6_ADDRSTRLEN) ? family : -1;
}

struct found {
	const char *v[2]; /* in order */
	int family[2];
	size_t n;
};

static int add(struct cni *c, crio_call *call, struct found *f, const char *text, crio_err *err)
{
	char ip[INET6_ADDRSTRLEN];
	int family = address(text, ip);

	if (family < 0)
		return c->host->fail(err, CRIO_E_CORRUPT, "result has the address '%s', which is none",
				     cni_printable(c, call, text, strnlen(text, 64)));
	for (size_t i = 0; i < f->n; i++) {
		if (f->family[i] == family)
			return 0;
	}
	f->family[f->n] = family;
	f->v[f->n] = c->host->strdup(call, ip);
	if (!f->v[f->n])
		return cni_nomem(c, err);
	f->n++;
	return 0;
}

int cni_result_ips(struct cni *c, crio_call *call, struct json_object *result, struct crio_strs *ret, crio_err *err)
{
	static const char *const old[] = {"ip4", "ip6"};
	struct json_object *ips = cni_json_get(result, "ips", json_type_array);
	struct found f = {.n = 0};
	const char **v;
	int r = 0;

	for (size_t i = 0; r == 0 && i < 2; i++) {
		struct json_object *o = cni_json_get(result, old[i], json_type_object);
		const char *ip = cni_json_str(o, "ip");

		if (*ip)
			r = add(c, call, &f, ip, err);
	}
	if (ips && json_object_array_length(ips) > IPS_MAX)
		return c->host->fail(err, CRIO_E_EXHAUSTED, "result has more than %d addresses", IPS_MAX);
	for (size_t i = 0; r == 0 && ips && i < json_object_array_length(ips); i++)
		r = add(c, call, &f, cni_json_str(json_object_array_get_idx(ips, i), "address"), err);
	if (r < 0)
		return r;
	v = c->host->alloc(call, sizeof(*v) * (f.n + 1));
	if (!v)
		return cni_nomem(c, err);
	memcpy(v, f.v, sizeof(*v) * f.n);
	ret->v = v;
	ret->n = f.n;
	return 0;
}
