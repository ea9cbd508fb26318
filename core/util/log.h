/*
 * log.h: one line a message, in logrus text form (or JSON), on stderr or a file:
 *	time="2026-01-02T03:04:05.000000006Z" level=info msg="..." file="core/x.c:12" id=... name=...
 * Tools and CRI-O's own tests read this form. Levels: fatal panic error warn info debug trace.
 * Every call is thread-safe; a line is written with one write(2).
 */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

#include <stdbool.h>

#include "core/util/err.h"

enum log_level {
	LOGL_FATAL = 0,
	LOGL_PANIC,
	LOGL_ERROR,
	LOGL_WARN,
	LOGL_INFO,
	LOGL_DEBUG,
	LOGL_TRACE
};

/* "warn" or "warning" and so on; false: not a level. */
bool log_level_parse(const char *s, enum log_level *ret);
const char *log_level_name(enum log_level l);
void log_set_level(enum log_level l);
enum log_level log_get_level(void);
/* Only messages that match this extended regular expression are written; "" or NULL: all. */
int log_set_filter(const char *regex, crio_err *err);
/* Appends to this file from now on; "" or NULL: stderr. */
int log_set_file(const char *path, crio_err *err);
void log_set_json(bool on);

/* The request that this thread works for, added to its lines as id=.. name=..; NULL: none. Strings are the caller's
 * and must outlive the setting. */
void log_set_request(const char *id, const char *name);

void log_at(enum log_level l, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#define log_error(...) log_at(LOGL_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define log_warn(...) log_at(LOGL_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define log_info(...) log_at(LOGL_INFO, __FILE__, __LINE__, __VA_ARGS__)
/* Arguments are evaluated only when the level is on. */
#define log_debug(...) \
	do { \
		if (log_get_level() >= LOGL_DEBUG) \
			log_at(LOGL_DEBUG, __FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
#define log_trace(...) \
	do { \
		if (log_get_level() >= LOGL_TRACE) \
			log_at(LOGL_TRACE, __FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

#endif
