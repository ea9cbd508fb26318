/*
 * manifest.h: what registries say an image is: manifests, indexes and configs, Docker schema 2 and OCI. All of it is
 * input from outside: bounded, checked, and refused when two readers could understand it differently. Pure functions.
 */
#ifndef IMAGE_MANIFEST_H
#define IMAGE_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/image/image.h"
#include "core/util/digest.h"

#define MANIFEST_MAX (4u << 20) /* bytes of a manifest, an index, a config */
#define MANIFEST_LAYERS_MAX 500 /* as many as overlay can stack */
#define MANIFEST_ENTRIES_MAX 1000
#define MANIFEST_DEPTH_MAX 3 /* indexes in indexes */
#define LAYER_SIZE_MAX (64LL << 30)

#define MT_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MT_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MT_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MT_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MT_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MT_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"

struct descriptor {
	char *media_type;
	char digest[DIGEST_TEXT_MAX];
	int64_t size;
};
struct platform {
	char *os, *architecture, *variant; /* "" unset */
};
struct manifest_entry {
	struct descriptor d;
	struct platform platform;
};
struct manifest {
	char *media_type;
	bool index;
	struct descriptor config; /* of an image */
	struct descriptor *layers;
	size_t n_layers;
	struct kvs annotations;		/* OCI */
	struct manifest_entry *entries; /* of an index */
	size_t n_entries;
};
void manifest_release(struct manifest *m);
#define cleanup_manifest CLEANUP(manifest_release)

/* content_type: as the server sent it; "" or a general one: the document decides. ret is zeroed by the caller. CORRUPT:
 * not a manifest, or a field is missing or malformed. UNSUPPORTED: Docker schema 1, a config that is not of an image.
 * INVALID: ambiguous: layers beside manifests, mediaType and Content-Type of two kinds. EXHAUSTED: a limit. */
int manifest_parse(const char *text, size_t n, const char *content_type, struct manifest *ret, crio_err *err);

/* This machine's ("linux", "arm64", "v8"); strings are static. */
void platform_here(struct platform *ret);
/* The entry for `want`: exact variant first, then those that it can run. NOT_FOUND names what there is. */
int manifest_choose(const struct manifest *index, const struct platform *want, size_t *ret_i, crio_err *err);

/* Fills im's fields from its config (those under "From its config", created_ns, config_json); im is freshly made.
 * diff_ids (may be NULL): of the layers, lowest first; each is a valid digest. CORRUPT. */
int image_config_parse(const char *text, size_t n, struct image *im, struct strv *diff_ids, crio_err *err);

#endif
