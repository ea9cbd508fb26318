/*
 * err.h: errors. A function that can fail returns 0 or a negative CRIO_E_* (sdk/crio/types.h) and takes a crio_err *
 * last, which it fills when it fails and does not touch when it succeeds. NULL means the caller does not want the
 * text. The boundary that answers the client logs once; nothing below it logs an error it returns.
 *
 *	if (fd < 0)
 *		return err_errno(err, errno, "open %s", path);
 *	if (r < 0)
 *		return err_wrap(err, "start pod '%s'", id);
 */
#ifndef UTIL_ERR_H
#define UTIL_ERR_H

#include <crio/types.h>

#include "core/util/banned.h"
#include "core/util/cleanup.h"

/* The core's side of the SDK's opaque crio_err. Zero-initialise; err_clear when done. msg is on the heap, or NULL
 * when there was no memory for it (err_text then gives the code's name). */
struct crio_err {
	int code;
	char *msg;
};

#define ERR_INIT \
	{        \
		0, NULL \
	}

/* Sets code and text, replacing what was there. Returns code. */
int err_set(crio_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same from an errno value: maps it to a code and appends ": <strerror>". */
int err_errno(crio_err *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "<text>: " before the message. Returns the code that is there (CRIO_E_INTERNAL when there is none). */
int err_wrap(crio_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* No memory. Never allocates. */
int err_nomem(crio_err *err);
/* Moves src into dst (which may be NULL); src is empty afterwards. Returns the code. */
int err_move(crio_err *dst, crio_err *src);
void err_clear(crio_err *err);
/* Never NULL. */
const char *err_text(const crio_err *err);
/* "not found" and so on. */
const char *err_code_name(int code);
/* The code for an errno value: ENOENT is NOT_FOUND, EACCES and EPERM DENIED, ENOSPC and EDQUOT NOSPACE, ... */
int err_code_of_errno(int errnum);

#define cleanup_err CLEANUP(err_clear)

#endif
