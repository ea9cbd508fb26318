/*
 * annotations.h: the annotations that may stand in allowed_annotations, with their old names. What they do, and taking away those
 * that are not allowed, is core/lifecycle's.
 */
#ifndef CONF_ANNOTATIONS_H
#define CONF_ANNOTATIONS_H

#include <stdbool.h>
#include <stddef.h>

struct conf_annotation {
	const char *name;          /* "userns-mode.crio.io", or a prefix such as "run.oci." */
	const char *old;           /* "io.kubernetes.cri-o.userns-mode"; NULL: none */
};
extern const struct conf_annotation conf_annotations[];
extern const size_t conf_annotations_n;

/* May this stand in allowed_annotations? Either name does. */
bool conf_annotation_known(const char *name);

#endif
