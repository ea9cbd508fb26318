/* The texts of resolv.conf, hostname and hosts. */
#include "core/lifecycle/resolv.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>

#include "core/util/fs.h"

#define WORD_MAX 1024
#define WORDS_MAX 256
#define HOSTNAME_MAX 64 /* __NEW_UTS_LEN */

/* One word of a line: nothing that ends a word, a line or the file. */
static int words_check(const struct strv *l, const char *what, crio_err *err)
{
	if (l->n > WORDS_MAX)
		return err_set(err, CRIO_E_INVALID, "DNS %s: more than %d", what, WORDS_MAX);
	for (size_t i = 0; i < l->n; i++) {
		const char *w = l->v[i];

		if (!*w || strlen(w) > WORD_MAX)
			return err_set(err, CRIO_E_INVALID, "DNS %s %zu is empty or longer than %d bytes", what, i,
				       WORD_MAX);
		for (; *w; w++) {
			if ((unsigned char)*w <= 0x20 || (unsigned char)*w == 0x7f)
				return err_set(err, CRIO_E_INVALID, "DNS %s %zu has a space or control character in it",
					       what, i);
		}
	}
	return 0;
}

static void line(struct buf *b, const char *key, const struct strv *words)
{
	if (words->n == 0)
		return;
	buf_adds(b, key);
	for (size_t i = 0; i < words->n; i++)
		buf_addf(b, " %s", words->v[i]);
	buf_addc(b, '\n');
}

static int take(struct buf *b, char **ret, crio_err *err)
{
	char *s = buf_take(b);

	if (!s)
		return err_nomem(err);
	*ret = s;
	return 0;
}

static int resolv_host(const char *host_path, char **ret, crio_err *err)
{
	crio_err why = ERR_INIT;
	int r = CRIO_E_NOT_FOUND;

	if (str_set(host_path))
		r = fs_read_file(AT_FDCWD, host_path, RESOLV_MAX, ret, NULL, &why);
	if (r == CRIO_E_NOT_FOUND) {
		err_clear(&why);
		*ret = strdup("");
		return *ret ? 0 : err_nomem(err);
	}
	if (r < 0) {
		(void)err_move(err, &why);
		return err_wrap(err, "take over the node's resolver configuration");
	}
	return 0;
}

int resolv_text(const struct strv *servers, const struct strv *searches, const struct strv *options,
		const char *host_path, char **ret, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	int r = words_check(servers, "server", err);

	if (r == 0)
		r = words_check(searches, "search domain", err);
	if (r == 0)
		r = words_check(options, "option", err);
	if (r < 0)
		return r;
	if (servers->n == 0 && searches->n == 0 && options->n == 0)
		return resolv_host(host_path, ret, err);
	line(&b, "search", searches);
	for (size_t i = 0; i < servers->n; i++)
		buf_addf(&b, "nameserver %s\n", servers->v[i]);
	line(&b, "options", options);
	return take(&b, ret, err);
}

int hostname_check(const char *name, crio_err *err)
{
	size_t n = strlen(name);

	if (n == 0 || n > HOSTNAME_MAX)
		return err_set(err, CRIO_E_INVALID, "host name of %zu bytes: 1 to %d are allowed", n, HOSTNAME_MAX);
	for (const char *p = name; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
			return err_set(
			    err, CRIO_E_INVALID,
			    "host name has a byte 0x%02x in it: letters, digits, '-', '.' and '_' are allowed",
			    (unsigned char)*p);
	}
	return 0;
}

int hostname_text(const char *name, char **ret, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	int r = hostname_check(name, err);

	if (r < 0)
		return r;
	buf_addf(&b, "%s\n", name);
	return take(&b, ret, err);
}

int hosts_text(const struct strv *ips, const char *hostname, char **ret, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	unsigned char bin[sizeof(struct in6_addr)];
	int r = hostname_check(hostname, err);

	if (r < 0)
		return r;
	buf_adds(&b, "127.0.0.1\tlocalhost\n"
		     "::1\tlocalhost ip6-localhost ip6-loopback\n"
		     "fe00::\tip6-localnet\n"
		     "ff02::1\tip6-allnodes\n"
		     "ff02::2\tip6-allrouters\n");
	for (size_t i = 0; i < ips->n; i++) {
		if (inet_pton(AF_INET, ips->v[i], bin) != 1 && inet_pton(AF_INET6, ips->v[i], bin) != 1)
			return err_set(err, CRIO_E_INVALID, "pod address %zu is not an IP address", i);
		buf_addf(&b, "%s\t%s\n", ips->v[i], hostname);
	}
	return take(&b, ret, err);
}
