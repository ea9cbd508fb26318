/* certs.c: certs.d/<host:port>. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "core/image/registry.h"
#include "core/util/fs.h"

#define CA_MAX (1u << 20)

void certs_release(struct certs *c)
{
	free(c->ca_pem);
	free(c->cert_file);
	free(c->key_file);
	memset(c, 0, sizeof(*c));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* "client.cert" with ".key" for ".cert" must be there as well. */
static int check_pair(const char *path, const char *name, const char *ext, const char *other, char **ret_other,
		      crio_err *err)
{
	char *p = path_fmt("%s/%.*s%s", path, (int)(strlen(name) - strlen(ext)), name, other);

	if (!p)
		return err_nomem(err);
	if (access(p, R_OK) < 0) {
		int r = err_set(err, CRIO_E_INVALID, "%s/%s has no %s beside it that can be read", path, name, p);

		free(p);
		return r;
	}
	*ret_other = p;
	return 0;
}

static int add_file(const char *path, const char *name, struct buf *ca, struct certs *c, crio_err *err)
{
	cleanup_free char *file = path_fmt("%s/%s", path, name), *text = NULL, *other = NULL;
	int r;

	if (!file)
		return err_nomem(err);
	if (str_ends(name, ".crt")) {
		r = fs_read_file(AT_FDCWD, file, CA_MAX, &text, NULL, err);
		if (r < 0)
			return r;
		buf_adds(ca, text);
		buf_addc(ca, '\n');
		return ca->over ? err_set(err, CRIO_E_EXHAUSTED, "%s: more than %u bytes of certificates", path, CA_MAX)
				: 0;
	}
	if (str_ends(name, ".key"))
		return check_pair(path, name, ".key", ".cert", &other, err);
	if (!str_ends(name, ".cert"))
		return 0;
	r = check_pair(path, name, ".cert", ".key", &other, err);
	if (r < 0 || c->cert_file)
		return r;
	c->cert_file = move_ptr(file);
	c->key_file = move_ptr(other);
	return 0;
}

static int load_dir(const char *path, struct certs *c, crio_err *err)
{
	CLEANUP(buf_release) struct buf ca = BUF_INIT;
	struct dirent **list = NULL;
	int n = scandir(path, &list, NULL, by_name), r = 0;

	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(err, errno, "read %s", path);
	buf_init(&ca, CA_MAX);
	for (int i = 0; i < n; i++) {
		if (r == 0 && list[i]->d_name[0] != '.')
			r = add_file(path, list[i]->d_name, &ca, c, err);
		free(list[i]);
	}
	free(list);
	if (r == 0 && ca.n) {
		c->ca_pem = buf_take(&ca);
		if (!c->ca_pem)
			r = err_nomem(err);
	}
	return r;
}

int certs_load(const char *dir, const char *host, struct certs *ret, crio_err *err)
{
	static const char *const places[] = {"/etc/containers/certs.d", "/etc/docker/certs.d"};
	struct certs c = {0};
	int r = 0;

	if (!reference_domain_ok(host))
		return err_set(err, CRIO_E_INVALID, "'%.256s' is not host[:port]", host);
	for (size_t i = 0; i < (dir ? 1 : ARRAY_SIZE(places)) && r == 0 && !c.ca_pem && !c.cert_file; i++) {
		cleanup_free char *path = path_fmt("%s/%s", dir ? dir : places[i], host);

		r = path ? load_dir(path, &c, err) : err_nomem(err);
	}
	if (r < 0) {
		certs_release(&c);
		return r;
	}
	*ret = c;
	return 0;
}
