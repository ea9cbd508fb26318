/* resolve.c: from a client's text to full references. */
#include <string.h>

#include "core/image/images_priv.h"

void references_release(struct references *r)
{
	for (size_t i = 0; i < r->n; i++)
		reference_release(&r->v[i]);
	free(r->v);
	r->v = NULL;
	r->n = 0;
}

/* The text up to the tag or digest, as the client wrote it. */
static char *name_part(const char *text)
{
	size_t end = strcspn(text, "@"), slash = 0;

	for (size_t i = 0; i < end; i++)
		if (text[i] == '/')
			slash = i;
	for (size_t i = slash; i < end; i++)
		if (text[i] == ':')
			end = i;
	return strndup(text, end);
}

/* name is "host/repo"; tag and digest are those of `from`. */
static int add_candidate(struct references *ret, const char *name, const struct reference *from, crio_err *err)
{
	struct reference *r = &ret->v[ret->n];
	char *tag, *digest;
	int e = reference_parse(name, r, err);

	if (e < 0)
		return err_wrap(err, "registries.conf");
	ret->n++;
	tag = strdup(from->tag);
	digest = strdup(from->digest);
	free(r->tag);
	free(r->digest);
	r->tag = tag;
	r->digest = digest;
	return tag && digest && reference_finish(r) == 0 ? 0 : err_nomem(err);
}

int images_candidates(struct images *is, const char *text, struct references *ret, crio_err *err)
{
	cleanup_conf const struct conf *conf = images_conf(is);
	cleanup_registries const struct registries *regs = images_registries(is);
	cleanup_reference struct reference parsed = REFERENCE_INIT;
	cleanup_references struct references out = {0};
	cleanup_strv struct strv names = STRV_INIT;
	cleanup_free char *name = NULL;
	int r = reference_parse(text, &parsed, err);

	if (r < 0)
		return r;
	name = name_part(text);
	if (!name)
		return err_nomem(err);
	r = registries_candidates(regs, name, conf->image.short_name_mode == CONF_SHORT_ENFORCING, &names, err);
	if (r < 0)
		return r;
	out.v = calloc(names.n ? names.n : 1, sizeof(*out.v));
	if (!out.v)
		return err_nomem(err);
	for (size_t i = 0; i < names.n; i++) {
		r = add_candidate(&out, names.v[i], &parsed, err);
		if (r < 0)
			return r;
	}
	*ret = out;
	memset(&out, 0, sizeof(out));
	return 0;
}
