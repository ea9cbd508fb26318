/* text.h: what is counted (core/util/meter.h), in the text form that Prometheus reads (version 0.0.4). */
#ifndef OBSERVE_TEXT_H
#define OBSERVE_TEXT_H

#include <stdint.h>

#include "core/util/str.h"

struct plugins;

#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define TEXT_PREFIX "container_runtime_crio_"

/* Which meters the names of metrics_collectors choose, a bit each by enum meter; with or without "container_runtime_" and "crio_".
 * Unknown names choose none, as in CRI-O. */
uint64_t text_chosen(const struct strv *names);

struct text_args {
	uint64_t chosen;
	const char *default_runtime;
	struct plugins *plugins; /* NULL: none of theirs */
	const char *proc;	 /* "/proc" */
};
/* Appends all of them, this process's figures and what plugins count. */
void text_write(struct buf *out, const struct text_args *a);

#endif
