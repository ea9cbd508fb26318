#include "core/util/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

#include "core/util/str.h"

static _Atomic int level = LOGL_INFO;
static _Atomic int out_fd = STDERR_FILENO;
static _Atomic bool json;
static pthread_rwlock_t filter_lock = PTHREAD_RWLOCK_INITIALIZER;
static regex_t filter;      /* guarded by filter_lock */
static bool have_filter;    /* guarded by filter_lock */
static _Thread_local const char *req_id, *req_name;

static const char *const names[] = { "fatal", "panic", "error", "warning", "info", "debug", "trace" };

bool log_level_parse(const char *s, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcasecmp(s, names[i]) || (i == LOGL_WARN && !strcasecmp(s, "warn"))) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

const char *log_level_name(enum log_level l)
{
	return l == LOGL_WARN ? "warn" : names[l];
}

void log_set_level(enum log_level l)
{
	level = (int)l;
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&level, memory_order_relaxed);
}

int log_set_filter(const char *regex, crio_err *err)
{
	regex_t re;
	bool on = str_set(regex);
	if (on) {
		int r = regcomp(&re, regex, REG_EXTENDED | REG_NOSUB);
		if (r) {
			char why[128];
			(void)regerror(r, &re, why, sizeof(why));
			return err_set(err, CRIO_E_INVALID, "log_filter '%s': %s", regex, why);
		}
	}
	(void)pthread_rwlock_wrlock(&filter_lock);
	if (have_filter)
		regfree(&filter);
	have_filter = on;
	if (on)
		filter = re;
	(void)pthread_rwlock_unlock(&filter_lock);
	return 0;
}

int log_set_file(const char *path, crio_err *err)
{
	int fd = STDERR_FILENO;
	if (str_set(path)) {
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_errno(err, errno, "open log file %s", path);
	}
	/* The old descriptor stays open: another thread may be writing to it, and this happens once or twice in a life. */
	out_fd = fd;
	return 0;
}

void log_set_json(bool on)
{
	json = on;
}

void log_set_request(const char *id, const char *name)
{
	req_id = id;
	req_name = name;
}

static void add_quoted(struct buf *b, const char *s)
{
	buf_addc(b, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			buf_addf(b, "\\%c", c);
		else if (c == '\n')
			buf_adds(b, "\\n");
		else if (c == '\t')
			buf_adds(b, "\\t");
		else if (c < 0x20 || c == 0x7f)
			buf_addf(b, json ? "\\u%04x" : "\\x%02x", c);
		else
			buf_addc(b, (char)c);
	}
	buf_addc(b, '"');
}

static void add_field(struct buf *b, const char *key, const char *value)
{
	if (json)
		buf_addf(b, ",\"%s\":", key);
	else
		buf_addf(b, " %s=", key);
	add_quoted(b, value);
}

static bool wanted(const char *msg)
{
	(void)pthread_rwlock_rdlock(&filter_lock);
	bool yes = !have_filter || regexec(&filter, msg, 0, NULL, 0) == 0;
	(void)pthread_rwlock_unlock(&filter_lock);
	return yes;
}

void log_at(enum log_level l, const char *file, int line, const char *fmt, ...)
{
	if ((int)l > atomic_load_explicit(&level, memory_order_relaxed))
		return;
	int saved = errno;
	cleanup_free char *msg = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&msg, fmt, ap);
	va_end(ap);
	if (n < 0 || !wanted(msg)) {
		if (n < 0)
			msg = NULL;
		errno = saved;
		return;
	}
	struct timespec ts;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	struct tm tm;
	(void)gmtime_r(&ts.tv_sec, &tm);
	char when[64];
	size_t w = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(when + w, sizeof(when) - w, ".%09ldZ", ts.tv_nsec);

	cleanup_buf struct buf b = BUF_INIT;
	buf_addf(&b, json ? "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":" : "time=\"%s\" level=%s msg=", when, names[l]);
	add_quoted(&b, msg);
	char at[256];
	(void)snprintf(at, sizeof(at), "%s:%d", file, line);
	add_field(&b, "file", at);
	if (req_id)
		add_field(&b, "id", req_id);
	if (req_name)
		add_field(&b, "name", req_name);
	buf_adds(&b, json ? "}\n" : "\n");
	if (!b.oom) {
		ssize_t r = write(out_fd, b.p, b.n); /* a full log disk must not stop the daemon */
		(void)r;
	}
	errno = saved;
}
