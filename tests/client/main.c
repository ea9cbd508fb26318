/*
 * cri-client: calls any method of the CRI on any socket.
 *
 *	cri-client [-s SOCKET] [-t SECONDS] [-r FIELD] [-n TIMES] [-j AT_ONCE] [-c] [-l FILE] [-f FILE] METHOD
 *[JSON|@FILE|-]
 *
 * The reply is printed as JSON (of a stream, one document a message); -r prints one field of it as it is (dotted path,
 *list elements by number). The exit status is gRPC's; its name and message go to stderr. -f sends a file's bytes as the
 * message. With -n or -j the calls are timed instead: "{n}" in the JSON is the call's number, -c gives each thread
 * its own connection, -l writes each call's microseconds and status to a file, and a summary is printed as JSON.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/rpc/cri.h"
#include "tests/client/client.h"
#include "tests/client/pbjson.h"

#define EXIT_USAGE 64

struct options {
	const char *socket, *field, *raw_file, *latency_file;
	double timeout;
	long times, threads;
	bool connections; /* one a thread */
	bool bench;
};

struct method {
	char path[160];
	const ProtobufCMessageDescriptor *req, *resp; /* NULL: not of the CRI, raw only */
};

struct bench {
	const struct options *o;
	const struct method *m;
	const char *json;
	const void *body; /* the same for all, when the JSON has no {n} */
	size_t body_n;
	struct client *shared;
	_Atomic long next;
	double *us;
	int *status;
	_Atomic int first_error;
	pthread_mutex_t lock;
	char *message; /* of the first error */
};

static const char *status_name(int s)
{
	static const char *const names[] = {
	    "OK",	"Canceled",	  "Unknown",	      "InvalidArgument",   "DeadlineExceeded",
	    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
	    "Aborted",	"OutOfRange",	  "Unimplemented",    "Internal",	   "Unavailable",
	    "DataLoss", "Unauthenticated"};

	return s >= 0 && s < (int)(sizeof(names) / sizeof(names[0])) ? names[s] : "Unknown";
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "cri-client: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	exit(EXIT_USAGE);
}

static void *need(void *p)
{
	if (!p)
		die("out of memory", NULL);
	return p;
}

static char *read_all(const char *path, size_t *ret_n)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rbe") : stdin;
	size_t n = 0, cap = 65536, k;
	char *p = need(malloc(cap));

	if (!f)
		die("cannot read", path);
	while ((k = fread(p + n, 1, cap - n - 1, f)) > 0) {
		n += k;
		if (n + 1 == cap)
			p = need(realloc(p, cap *= 2));
	}
	if (f != stdin)
		(void)fclose(f);
	p[n] = '\0';
	*ret_n = n;
	return p;
}

static void find_method(const char *name, struct method *ret)
{
	const ProtobufCServiceDescriptor *const services[] = {&runtime__v1__runtime_service__descriptor,
							      &runtime__v1__image_service__descriptor};
	const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < 2; i++) {
		const ProtobufCMethodDescriptor *m =
		    protobuf_c_service_descriptor_get_method_by_name(services[i], last);

		if (!m)
			continue;
		ret->req = m->input;
		ret->resp = m->output;
		snprintf(ret->path, sizeof(ret->path), "/%s/%s", services[i]->name, last);
	}
	if (*name == '/')
		snprintf(ret->path, sizeof(ret->path), "%s", name);
	else if (!ret->req)
		die("no method", name);
}

/* The message for JSON text; the caller's. */
static void *pack_json(const struct method *m, const char *json, size_t *ret_n)
{
	enum json_tokener_error e = json_tokener_success;
	struct json_object *o;
	ProtobufCMessage *msg;
	char why[256];
	void *p;

	if (!m->req)
		die("only -f can be used with", m->path);
	o = json_tokener_parse_verbose(json, &e);
	if (!o)
		die("the request is no JSON", json_tokener_error_desc(e));
	msg = pbjson_parse(m->req, o, why);
	if (!msg)
		die(m->req->short_name, why);
	p = need(malloc(protobuf_c_message_get_packed_size(msg) + 1));
	*ret_n = protobuf_c_message_pack(msg, p);
	protobuf_c_message_free_unpacked(msg, NULL);
	json_object_put(o);
	return p;
}

/* ---- one call ---- */

/* Prints the field at a dotted path. False: there is no such thing. */
static bool print_field(const ProtobufCMessage *m, const char *path)
{
	char name[128];
	size_t n = strcspn(path, ".");
	const ProtobufCFieldDescriptor *f;
	const char *at, *rest = path[n] ? path + n + 1 : "";
	unsigned long i = 0;

	snprintf(name, sizeof(name), "%.*s", (int)n, path);
	f = pbjson_field(m->descriptor, name);
	if (!f)
		return false;
	at = (const char *)m + f->offset;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t count = *(const size_t *)(const void *)((const char *)m + f->quantifier_offset);
		char *end;

		i = strtoul(rest, &end, 10);
		if (end == rest || i >= count ||
		    (f->type != PROTOBUF_C_TYPE_MESSAGE && f->type != PROTOBUF_C_TYPE_STRING))
			return false;
		rest = *end == '.' ? end + 1 : end;
		at = *(char *const *)(const void *)at + i * sizeof(void *);
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(ProtobufCMessage *const *)(const void *)at &&
		       print_field(*(ProtobufCMessage *const *)(const void *)at, rest);
	case PROTOBUF_C_TYPE_STRING:
		printf("%s\n", *(char *const *)(const void *)at);
		return true;
	case PROTOBUF_C_TYPE_BYTES:
		fwrite(((const ProtobufCBinaryData *)(const void *)at)->data, 1,
		       ((const ProtobufCBinaryData *)(const void *)at)->len, stdout);
		return true;
	default: {
		struct json_object *o = pbjson_dump(m), *v = NULL;
		struct json_object_iterator it = json_object_iter_begin(o);
		unsigned k;

		for (k = 0; k < (unsigned)(f - m->descriptor->fields); k++)
			json_object_iter_next(&it);
		v = json_object_iter_peek_value(&it);
		printf("%s\n", v ? json_object_get_string(v) : "null");
		json_object_put(o);
		return true;
	}
	}
}

struct printer {
	const struct options *o;
	const struct method *m;
};

static int print_reply(void *arg, const void *p, size_t n)
{
	const struct printer *pr = arg;
	ProtobufCMessage *m;
	struct json_object *o;

	if (!pr->m->resp) {
		fwrite(p, 1, n, stdout);
		return 0;
	}
	m = protobuf_c_message_unpack(pr->m->resp, NULL, n, p);
	if (!m) {
		fputs("cri-client: the reply cannot be decoded\n", stderr);
		exit(70);
	}
	if (pr->o->field) {
		if (!print_field(m, pr->o->field)) {
			fprintf(stderr, "cri-client: the reply has no '%s'\n", pr->o->field);
			exit(71);
		}
	} else {
		o = pbjson_dump(m);
		printf("%s\n",
		       json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(o);
	}
	protobuf_c_message_free_unpacked(m, NULL);
	(void)fflush(stdout);
	return 0;
}

static int one_call(const struct options *o, const struct method *m, const void *p, size_t n)
{
	struct client *c = need(client_new(o->socket));
	struct printer pr = {o, m};
	struct client_result r;
	int status;

	client_call(c, m->path, p, n, (int64_t)(o->timeout * 1000), print_reply, &pr, &r);
	status = r.status;
	if (status)
		fprintf(stderr, "%s: code = %s (%d) message = %s\n", m->path, status_name(status), status, r.message);
	client_result_release(&r);
	return status; /* the process ends: see main */
}

/* ---- many calls ---- */

static double now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The JSON with each {n} replaced. */
static char *with_number(const char *json, long n)
{
	size_t len = 0;
	char *s = NULL;
	FILE *f = need(open_memstream(&s, &len));
	const char *at;

	while ((at = strstr(json, "{n}"))) {
		fwrite(json, 1, (size_t)(at - json), f);
		fprintf(f, "%ld", n);
		json = at + 3;
	}
	fputs(json, f);
	(void)fclose(f);
	return need(s);
}

static void *bench_thread(void *arg)
{
	struct bench *b = arg;
	struct client *c = b->o->connections ? need(client_new(b->o->socket)) : b->shared;
	long i;

	while ((i = b->next++) < b->o->times) {
		const void *p = b->body;
		size_t n = b->body_n;
		struct client_result r;
		void *own = NULL;
		int none = 0;
		double t;

		if (!p) {
			char *json = with_number(b->json, i);

			p = own = pack_json(b->m, json, &n);
			free(json);
		}
		t = now_us();
		client_call(c, b->m->path, p, n, (int64_t)(b->o->timeout * 1000), NULL, NULL, &r);
		b->us[i] = now_us() - t;
		b->status[i] = r.status;
		if (r.status && atomic_compare_exchange_strong(&b->first_error, &none, r.status)) {
			pthread_mutex_lock(&b->lock);
			b->message = strdup(r.message);
			pthread_mutex_unlock(&b->lock);
		}
		free(own);
		client_result_release(&r);
	}
	if (c != b->shared)
		client_free(c);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(struct bench *b, double seconds)
{
	long i, n = b->o->times, errors = 0;
	double sum = 0;
	FILE *f = b->o->latency_file ? fopen(b->o->latency_file, "we") : NULL;

	if (b->o->latency_file && !f)
		die("cannot write", b->o->latency_file);
	for (i = 0; i < n; i++) {
		if (f)
			fprintf(f, "%.1f %d\n", b->us[i], b->status[i]);
		errors += b->status[i] != 0;
		sum += b->us[i];
	}
	if (f)
		(void)fclose(f);
	qsort(b->us, (size_t)n, sizeof(*b->us), by_value);
	printf("{\"method\":\"%s\",\"calls\":%ld,\"errors\":%ld,\"threads\":%ld,\"seconds\":%.3f,\"per_second\":%.1f,"
	       "\"mean_us\":%.1f,\"min_us\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n",
	       b->m->path, n, errors, b->o->threads, seconds, (double)n / seconds, sum / (double)n, b->us[0],
	       b->us[n / 2], b->us[n * 9 / 10], b->us[n * 99 / 100], b->us[n - 1]);
}

static int many_calls(const struct options *o, const struct method *m, const char *json, const void *p, size_t n)
{
	struct bench b = {.o = o, .m = m, .json = json, .body = p, .body_n = n};
	pthread_t *threads = need(calloc((size_t)o->threads, sizeof(*threads)));
	double t;
	long i;

	(void)pthread_mutex_init(&b.lock, NULL);
	b.us = need(calloc((size_t)o->times, sizeof(*b.us)));
	b.status = need(calloc((size_t)o->times, sizeof(*b.status)));
	b.shared = o->connections ? NULL : need(client_new(o->socket));
	t = now_us();
	for (i = 0; i < o->threads; i++)
		if (pthread_create(&threads[i], NULL, bench_thread, &b))
			die("cannot start a thread", NULL);
	for (i = 0; i < o->threads; i++)
		(void)pthread_join(threads[i], NULL);
	report(&b, (now_us() - t) / 1e6);
	if (b.first_error)
		fprintf(stderr, "%s: code = %s (%d) message = %s\n", m->path, status_name(b.first_error), b.first_error,
			b.message ? b.message : "");
	client_free(b.shared);
	free(b.message);
	free(b.us);
	free(b.status);
	free(threads);
	return b.first_error;
}

static void parse_options(int argc, char **argv, struct options *o)
{
	const char *env = getenv("CONTAINER_RUNTIME_ENDPOINT");
	int c;

	*o =
	    (struct options){.socket = env ? env : "/var/run/crio/crio.sock", .timeout = 120, .times = 1, .threads = 1};
	while ((c = getopt(argc, argv, "s:t:r:n:j:cl:f:")) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 't':
			o->timeout = strtod(optarg, NULL);
			break;
		case 'r':
			o->field = optarg;
			break;
		case 'n':
			o->times = strtol(optarg, NULL, 10);
			o->bench = true;
			break;
		case 'j':
			o->threads = strtol(optarg, NULL, 10);
			o->bench = true;
			break;
		case 'c':
			o->connections = true;
			break;
		case 'l':
			o->latency_file = optarg;
			break;
		case 'f':
			o->raw_file = optarg;
			break;
		default:
			exit(EXIT_USAGE);
		}
	}
	if (!strncmp(o->socket, "unix://", 7))
		o->socket += 7;
	if (o->times < 1 || o->times > 100000000 || o->threads < 1 || o->threads > 10000)
		die("-n and -j take a number from 1", NULL);
	if (argc - optind < 1 || argc - optind > 2)
		die("usage: cri-client [-s SOCKET] [-t SECONDS] [-r FIELD] [-n TIMES] [-j AT_ONCE] [-c] [-l FILE] [-f "
		    "FILE] "
		    "METHOD [JSON|@FILE|-]",
		    NULL);
}

int main(int argc, char **argv)
{
	struct options o;
	struct method m;
	const char *arg;
	char *text = NULL;
	void *body;
	size_t n;
	int status;

	parse_options(argc, argv, &o);
	find_method(argv[optind], &m);
	arg = optind + 1 < argc ? argv[optind + 1] : "{}";
	if (*arg == '@' || !strcmp(arg, "-"))
		arg = text = read_all(*arg == '@' ? arg + 1 : arg, &n);
	if (o.raw_file)
		body = read_all(o.raw_file, &n);
	else if (o.bench && strstr(arg, "{n}"))
		body = NULL;
	else
		body = pack_json(&m, arg, &n);
	status = o.bench ? many_calls(&o, &m, arg, body, body ? n : 0) : one_call(&o, &m, body, n);
	free(body);
	free(text);
	/* Not the library's way out: gRPC's end of the process waits up to 10 s for what is still under way on a busy machine. */
	if (fflush(stdout))
		status = EXIT_USAGE;
	_exit(status);
}
