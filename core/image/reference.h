/*
 * reference.h: names of images, "[domain/]path[:tag][@digest]" in the grammar of the distribution project. A parsed
 * reference is normalised: "busybox" is docker.io/library/busybox. Nothing that has not been through here may be used
 * in a URL, a path or a record.
 */
#ifndef IMAGE_REFERENCE_H
#define IMAGE_REFERENCE_H

#include <stdbool.h>

#include "core/util/str.h"

#define REF_PATH_MAX 255
#define REF_TAG_MAX 128
#define REF_TEXT_MAX 1024 /* of a whole reference as a client may send it */

struct reference {
	char *domain; /* "docker.io", "localhost:5000", "[::1]:5000" */
	char *path;   /* "library/busybox" */
	char *tag;    /* "" none */
	char *digest; /* "" none; else valid as digest.h says */
};
#define REFERENCE_INIT                                                                                                 \
	{                                                                                                              \
		NULL, NULL, NULL, NULL                                                                                 \
	}
void reference_release(struct reference *r);
#define cleanup_reference CLEANUP(reference_release)
int reference_copy(struct reference *dst, const struct reference *src);

/* Parses and normalises into *ret (what it held before is not released). CRIO_E_INVALID: "invalid reference format" and
 * what is wrong with it. Refused: 64 hex digits alone (an image id), upper case in the path, an unknown digest
 * algorithm. */
int reference_parse(const char *s, struct reference *ret, crio_err *err);
/* Without a domain of its own: docker.io is only assumed, registries.conf decides. For text that reference_parse takes.
 */
bool reference_is_short(const char *s);

/* The tag "latest" when there is neither tag nor digest; with a digest the tag goes. What stores record. */
int reference_finish(struct reference *r);
/* "domain/path". NULL without memory; the caller's. */
char *reference_repo(const struct reference *r);
/* "domain/path[:tag][@digest]" */
char *reference_text(const struct reference *r);

/* Each by itself. */
bool reference_tag_ok(const char *s);
bool reference_path_ok(const char *s);	 /* at most REF_PATH_MAX */
bool reference_domain_ok(const char *s); /* host[:port]; host is a name, an IPv4 address or an IPv6 one in brackets */

#endif
