#include "core/util/err.h"

#include <stdarg.h>

static int set_text(crio_err *err, int code, char *msg)
{
	if (!err) {
		free(msg);
		return code;
	}
	free(err->msg);
	err->code = code;
	err->msg = msg;
	return code;
}

static char *vformat(const char *fmt, va_list ap)
{
	char *s = NULL;
	if (vasprintf(&s, fmt, ap) < 0)
		return NULL;
	return s;
}

int err_set(crio_err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	char *msg = vformat(fmt, ap);
	va_end(ap);
	return set_text(err, code, msg);
}

int err_code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ESRCH:
	case ENOTDIR:
		return CRIO_E_NOT_FOUND;
	case EEXIST:
		return CRIO_E_EXISTS;
	case EACCES:
	case EPERM:
		return CRIO_E_DENIED;
	case ENOSPC:
	case EDQUOT:
		return CRIO_E_NOSPACE;
	case ENOMEM:
		return CRIO_E_NOMEM;
	case EMFILE:
	case ENFILE:
		return CRIO_E_EXHAUSTED;
	case ETIMEDOUT:
		return CRIO_E_DEADLINE;
	case ECANCELED:
		return CRIO_E_CANCELLED;
	case EAGAIN:
	case EBUSY:
		return CRIO_E_UNAVAILABLE;
	case EINVAL:
	case ELOOP: /* a link loop, or a link where none is taken: what we were given is wrong */
	case ENAMETOOLONG:
		return CRIO_E_INVALID;
	case ENOSYS:
	case EOPNOTSUPP:
		return CRIO_E_UNSUPPORTED;
	default:
		return CRIO_E_IO;
	}
}

int err_errno(crio_err *err, int errnum, const char *fmt, ...)
{
	int code = err_code_of_errno(errnum);
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	cleanup_free char *what = vformat(fmt, ap);
	va_end(ap);
	char buf[128];
	const char *why = strerror_r(errnum, buf, sizeof(buf));
	return err_set(err, code, "%s: %s", what ? what : "system call", why);
}

int err_wrap(crio_err *err, const char *fmt, ...)
{
	if (!err)
		return CRIO_E_INTERNAL;
	int code = err->code ? err->code : CRIO_E_INTERNAL;
	va_list ap;
	va_start(ap, fmt);
	cleanup_free char *what = vformat(fmt, ap);
	va_end(ap);
	char *msg = NULL;
	if (!what || asprintf(&msg, "%s: %s", what, err_text(err)) < 0)
		return code; /* no memory: the inner text is better than none */
	return set_text(err, code, msg);
}

int err_nomem(crio_err *err)
{
	return set_text(err, CRIO_E_NOMEM, NULL);
}

int err_move(crio_err *dst, crio_err *src)
{
	int code = src->code;
	if (dst) {
		free(dst->msg);
		*dst = *src;
	} else {
		free(src->msg);
	}
	src->code = 0;
	src->msg = NULL;
	return code;
}

void err_clear(crio_err *err)
{
	if (!err)
		return;
	free(err->msg);
	err->msg = NULL;
	err->code = 0;
}

const char *err_code_name(int code)
{
	switch (code) {
	case CRIO_OK: return "success";
	case CRIO_E_INVALID: return "invalid argument";
	case CRIO_E_NOT_FOUND: return "not found";
	case CRIO_E_EXISTS: return "already exists";
	case CRIO_E_PRECONDITION: return "failed precondition";
	case CRIO_E_EXHAUSTED: return "resource exhausted";
	case CRIO_E_DEADLINE: return "deadline exceeded";
	case CRIO_E_CANCELLED: return "cancelled";
	case CRIO_E_UNAVAILABLE: return "unavailable";
	case CRIO_E_UNSUPPORTED: return "not supported";
	case CRIO_E_DENIED: return "permission denied";
	case CRIO_E_UNAUTHENTICATED: return "unauthenticated";
	case CRIO_E_INTERNAL: return "internal error";
	case CRIO_E_CORRUPT: return "corrupt data";
	case CRIO_E_IO: return "input/output error";
	case CRIO_E_NOMEM: return "out of memory";
	case CRIO_E_NOSPACE: return "no space left";
	case CRIO_E_ABORTED: return "aborted";
	default: return "unknown error";
	}
}

const char *err_text(const crio_err *err)
{
	if (!err)
		return "";
	return err->msg ? err->msg : err_code_name(err->code);
}
