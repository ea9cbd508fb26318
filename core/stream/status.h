/*
 * status.h: how a stream says how it ended: on its error channel, a metav1.Status as JSON since version 4, before that words, and only
 * of a failure.
 */
#ifndef STREAM_STATUS_H
#define STREAM_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/err.h"

/* The text for the channel, the caller's; "" says nothing; NULL without memory. */
/* A command has ended with this code. why: what the runtime said when it could not run it, or NULL. */
char *status_of_exit(int version, int32_t code, const char *why);
char *status_of_success(int version);
/* The stream failed: "error executing command in container: ...". */
char *status_of_failure(int version, const char *what, const char *why);
/* A terminal's size, as clients send it on the resize channel: {"Width":80,"Height":24}. False: it is something else. */
bool size_parse_json(const char *p, size_t n, uint16_t *ret_width, uint16_t *ret_height);

#endif
