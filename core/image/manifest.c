/* manifest.c: manifests and indexes. */
#include "core/image/manifest.h"

#include <string.h>
#include <sys/utsname.h>

#include "core/util/json.h"

static void descriptor_release(struct descriptor *d)
{
	free(d->media_type);
}

static void platform_release(struct platform *p)
{
	free(p->os);
	free(p->architecture);
	free(p->variant);
}

void manifest_release(struct manifest *m)
{
	descriptor_release(&m->config);
	for (size_t i = 0; i < m->n_layers; i++)
		descriptor_release(&m->layers[i]);
	for (size_t i = 0; i < m->n_entries; i++) {
		descriptor_release(&m->entries[i].d);
		platform_release(&m->entries[i].platform);
	}
	free(m->layers);
	free(m->entries);
	free(m->media_type);
	kvs_release(&m->annotations);
	memset(m, 0, sizeof(*m));
}

static bool has(const struct json_object *doc, const char *key)
{
	return json_object_object_get_ex(doc, key, NULL);
}

static int descriptor_parse(const struct json_object *o, const char *what, struct descriptor *d, crio_err *err)
{
	const char *digest = json_str(o, "digest"), *type = json_str(o, "mediaType");
	struct json_object *size = o ? json_get(o, "size") : NULL;

	if (!o)
		return err_set(err, CRIO_E_CORRUPT, "manifest: %s is missing or not an object", what);
	if (!digest_is_valid(digest))
		return err_set(err, CRIO_E_CORRUPT,
			       "manifest: the digest of %s is not sha256, sha384 or sha512 in lower-case hex", what);
	if (!size || !json_object_is_type(size, json_type_int) || json_object_get_int64(size) < 0)
		return err_set(err, CRIO_E_CORRUPT, "manifest: the size of %s (%s) is missing or negative", what,
			       digest);
	if (strlen(type) > 256 || !str_is_printable(type))
		return err_set(err, CRIO_E_CORRUPT, "manifest: the mediaType of %s is malformed", what);
	d->size = json_object_get_int64(size);
	(void)snprintf(d->digest, sizeof(d->digest), "%s", digest);
	d->media_type = strdup(type);
	return d->media_type ? 0 : err_nomem(err);
}

static bool is_index_type(const char *t)
{
	return str_eq(t, MT_OCI_INDEX) || str_eq(t, MT_DOCKER_LIST);
}

static bool is_image_type(const char *t)
{
	return str_eq(t, MT_OCI_MANIFEST) || str_eq(t, MT_DOCKER_MANIFEST);
}

static bool is_schema1_type(const char *t)
{
	return str_starts(t, "application/vnd.docker.distribution.manifest.v1+");
}

static int schema1(crio_err *err)
{
	return err_set(err, CRIO_E_UNSUPPORTED,
		       "the manifest is of Docker schema 1, which is obsolete and not supported: push the image again "
		       "with a current tool");
}

/* What the document is: by its mediaType, which must agree with the Content-Type, else by its fields. */
static int find_type(const struct json_object *doc, const char *content_type, const char **ret, crio_err *err)
{
	const char *type = json_str(doc, "mediaType");
	bool known = is_index_type(content_type) || is_image_type(content_type);

	if (has(doc, "layers") && has(doc, "manifests"))
		return err_set(err, CRIO_E_INVALID, "manifest: it has both layers and manifests: refused as ambiguous");
	if (is_schema1_type(content_type) || is_schema1_type(type) || has(doc, "fsLayers"))
		return schema1(err);
	if (*type && known && !str_eq(type, content_type))
		return err_set(err, CRIO_E_INVALID,
			       "manifest: its mediaType '%.128s' and the Content-Type '%.128s' disagree", type,
			       content_type);
	if (!*type && known)
		type = content_type;
	if (!*type) /* OCI lets it be absent */
		type = has(doc, "manifests") ? MT_OCI_INDEX : has(doc, "layers") ? MT_OCI_MANIFEST : "";
	if (is_index_type(type) ? has(doc, "layers") || !json_arr(doc, "manifests")
				: has(doc, "manifests") || !json_arr(doc, "layers"))
		return err_set(err, CRIO_E_CORRUPT,
			       "manifest: a document of type '%.128s' without its %s, or with those of another type",
			       type, is_index_type(type) ? "manifests" : "layers");
	if (!is_index_type(type) && !is_image_type(type))
		return err_set(err, CRIO_E_UNSUPPORTED, "manifest: type '%.128s' is not an image", type);
	if (json_int(doc, "schemaVersion", 0) != 2)
		return err_set(err, CRIO_E_CORRUPT, "manifest: schemaVersion is not 2");
	*ret = type;
	return 0;
}

static int parse_layers(const struct json_object *doc, struct manifest *m, crio_err *err)
{
	struct json_object *l = json_arr(doc, "layers");
	size_t n = json_object_array_length(l);
	int r;

	if (n > MANIFEST_LAYERS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "manifest: %zu layers, more than %d", n, MANIFEST_LAYERS_MAX);
	r = descriptor_parse(json_obj(doc, "config"), "config", &m->config, err);
	if (r < 0)
		return r;
	if (*m->config.media_type && !str_eq(m->config.media_type, MT_OCI_CONFIG) &&
	    !str_eq(m->config.media_type, MT_DOCKER_CONFIG))
		return err_set(err, CRIO_E_UNSUPPORTED,
			       "manifest: its config is of type '%.128s': not an image that can be run",
			       m->config.media_type);
	if (m->config.size > MANIFEST_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "manifest: a config of %lld bytes, more than %u",
			       (long long)m->config.size, MANIFEST_MAX);
	m->layers = calloc(n ? n : 1, sizeof(*m->layers));
	if (!m->layers)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(l, i);

		r = descriptor_parse(json_object_is_type(o, json_type_object) ? o : NULL, "a layer", &m->layers[i],
				     err);
		if (r < 0)
			return r;
		m->n_layers++;
		if (m->layers[i].size > LAYER_SIZE_MAX)
			return err_set(err, CRIO_E_EXHAUSTED, "manifest: a layer of %lld bytes, more than %lld",
				       (long long)m->layers[i].size, LAYER_SIZE_MAX);
	}
	return 0;
}

static int platform_parse(const struct json_object *o, struct platform *p, crio_err *err)
{
	p->os = strdup(json_str(o, "os"));
	p->architecture = strdup(json_str(o, "architecture"));
	p->variant = strdup(json_str(o, "variant"));
	return p->os && p->architecture && p->variant ? 0 : err_nomem(err);
}

static int parse_entries(const struct json_object *doc, struct manifest *m, crio_err *err)
{
	struct json_object *l = json_arr(doc, "manifests");
	size_t n = json_object_array_length(l);
	int r;

	if (n > MANIFEST_ENTRIES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "index: %zu manifests, more than %d", n, MANIFEST_ENTRIES_MAX);
	m->entries = calloc(n ? n : 1, sizeof(*m->entries));
	if (!m->entries)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(l, i);
		struct manifest_entry *e = &m->entries[i];

		m->n_entries++;
		r = descriptor_parse(json_object_is_type(o, json_type_object) ? o : NULL, "a manifest of the index",
				     &e->d, err);
		if (r < 0)
			return r;
		r = platform_parse(json_obj(o, "platform"), &e->platform, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int manifest_parse(const char *text, size_t n, const char *content_type, struct manifest *ret, crio_err *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_manifest struct manifest m = {0};
	const char *type = "";
	int r;

	if (n > MANIFEST_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "manifest: %zu bytes, more than %u", n, MANIFEST_MAX);
	r = json_parse(text, n, &doc, err);
	if (r < 0)
		return err_wrap(err, "manifest");
	if (!json_object_is_type(doc, json_type_object))
		return err_set(err, CRIO_E_CORRUPT, "manifest: not a JSON object");
	r = find_type(doc, content_type, &type, err);
	if (r < 0)
		return r;
	m.media_type = strdup(type);
	if (!m.media_type)
		return err_nomem(err);
	m.index = is_index_type(type);
	r = m.index ? parse_entries(doc, &m, err) : parse_layers(doc, &m, err);
	if (r < 0)
		return r;
	if (json_obj(doc, "annotations") && json_map(json_obj(doc, "annotations"), &m.annotations) < 0)
		return err_set(err, CRIO_E_CORRUPT, "manifest: an annotation is not a string");
	*ret = m;
	memset(&m, 0, sizeof(m));
	return 0;
}

/* ---- platforms ---- */

void platform_here(struct platform *ret)
{
	static const struct {
		const char *machine, *arch, *variant;
	} names[] = {
	    {"x86_64", "amd64", ""},	{"aarch64", "arm64", "v8"}, {"armv8l", "arm", "v8"},
	    {"armv7l", "arm", "v7"},	{"armv6l", "arm", "v6"},    {"i686", "386", ""},
	    {"i586", "386", ""},	{"ppc64le", "ppc64le", ""}, {"s390x", "s390x", ""},
	    {"riscv64", "riscv64", ""}, {"mips64", "mips64le", ""}, {"loongarch64", "loong64", ""},
	};
	static char unknown[sizeof(((struct utsname *)0)->machine)];
	struct utsname u;

	ret->os = (char *)(uintptr_t) "linux";
	ret->architecture = unknown;
	ret->variant = (char *)(uintptr_t) "";
	if (uname(&u) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(u.machine, names[i].machine)) {
			ret->architecture = (char *)(uintptr_t)names[i].arch;
			ret->variant = (char *)(uintptr_t)names[i].variant;
			return;
		}
}

/* How well a variant suits a machine of another: 0 not at all, more is better. */
static int variant_rank(const struct platform *want, const char *v)
{
	if (str_eq(v, want->variant))
		return 100;
	if (!*v) /* any machine of the architecture */
		return str_eq(want->architecture, "arm64") ? 90 : 50;
	if (str_eq(want->architecture, "amd64"))
		return str_eq(v, "v1") ? 90 : 0;
	if (str_eq(want->architecture, "arm64"))
		return str_eq(v, "v8") ? 80 : 0;
	/* An arm machine runs what was made for older ones: v7 before v6 before v5. */
	if (str_eq(want->architecture, "arm") && v[0] == 'v' && v[1] >= '5' && v[1] < want->variant[1] && !v[2])
		return 50 + v[1] - '0';
	return 0;
}

int manifest_choose(const struct manifest *index, const struct platform *want, size_t *ret_i, crio_err *err)
{
	CLEANUP(buf_release) struct buf seen = BUF_INIT;
	int best = 0;

	for (size_t i = 0; i < index->n_entries; i++) {
		const struct platform *p = &index->entries[i].platform;
		int rank = str_eq(p->os, want->os) && str_eq(p->architecture, want->architecture)
			       ? variant_rank(want, p->variant)
			       : 0;

		if (rank > best) {
			best = rank;
			*ret_i = i;
		}
		if (seen.n < 200)
			buf_addf(&seen, "%s%.32s/%.32s%s%.32s", i ? ", " : "", p->os, p->architecture,
				 *p->variant ? "/" : "", p->variant);
	}
	if (best)
		return 0;
	return err_set(err, CRIO_E_NOT_FOUND,
		       "no image found in image index for architecture \"%s\", variant \"%s\", OS \"%s\"; it has: %s",
		       want->architecture, want->variant, want->os,
		       seen.p && str_is_printable(seen.p) ? seen.p : "nothing");
}
