/*
 * inspect.c: what GET shows on the CRI socket besides gRPC, in CRI-O's form: /info and /containers/<id> are what cAdvisor in
 * the kubelet reads, the rest is for `crio status` and operators.
 */
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>

#include "core/conf/conf.h"
#include "core/lifecycle/lifecycle.h"
#include "core/rpc/server.h"
#include "core/util/fs.h"
#include "core/util/json.h"

#define URL_MAX 512
#define ID_RANGE 4294967295LL

static void fail(struct http_reply *ret, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fail(struct http_reply *ret, unsigned status, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	buf_clear(&ret->body);
	buf_addf(&ret->body, "%s\n", text ? text : "no memory");
	ret->status = status;
	ret->type = "text/plain; charset=utf-8";
}

static void give_json(struct http_reply *ret, const struct json_object *o)
{
	cleanup_free char *text = json_text(o);

	if (!text) {
		fail(ret, 500, "no memory");
		return;
	}
	buf_adds(&ret->body, text);
	ret->type = "application/json";
}

static const struct conf *conf_of(struct rpc_server *s)
{
	cleanup_unlock pthread_mutex_t *l = lock(&s->lock);

	return s->conf ? conf_ref(s->conf) : NULL;
}

static void get_config(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret)
{
	cleanup_conf const struct conf *c = conf_of(s);
	cleanup_free char *text = c ? conf_toml(c) : NULL;

	(void)call;
	(void)arg;
	if (!text) {
		fail(ret, 500, "no configuration, or no memory");
		return;
	}
	buf_adds(&ret->body, text);
	ret->type = "application/toml";
}

/* Without user namespaces for all pods every id is itself. */
static int put_mappings(struct json_object *o, const struct conf_runtime_section *c)
{
	cleanup_id_maps struct id_maps m = {0};
	int r = 0;

	if (*c->uid_mappings && *c->gid_mappings) {
		r = id_map_parse(c->uid_mappings, "UID", &m.uids, NULL);
		if (!r)
			r = id_map_parse(c->gid_mappings, "GID", &m.gids, NULL);
	} else {
		r = id_map_add(&m.uids, 0, 0, ID_RANGE, NULL);
		if (!r)
			r = id_map_add(&m.gids, 0, 0, ID_RANGE, NULL);
	}
	if (!r)
		r = json_set(o, "uids", id_map_json(&m.uids, ID_MAP_STORAGE));
	return r < 0 ? r : json_set(o, "gids", id_map_json(&m.gids, ID_MAP_STORAGE));
}

static void get_info(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret)
{
	cleanup_conf const struct conf *c = conf_of(s);
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *maps = NULL;
	bool systemd;

	(void)call;
	(void)arg;
	if (!c) {
		fail(ret, 500, "no configuration");
		return;
	}
	systemd = c->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD;
	if (!o || json_set_str(o, "storage_driver", c->crio.storage_driver) < 0 ||
	    json_set_str(o, "storage_image", "") < 0 || json_set_str(o, "storage_root", c->crio.root) < 0 ||
	    json_set_str(o, "cgroup_driver", systemd ? "systemd" : "cgroupfs") < 0 ||
	    !(maps = json_need_obj(o, "default_id_mappings")) || put_mappings(maps, &c->runtime) < 0) {
		fail(ret, 500, "no memory");
		return;
	}
	give_json(ret, o);
}

static void get_container(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_err crio_err err = ERR_INIT;
	int r = s->args.lifecycle ? container_inspect(s->args.lifecycle, arg, &o, &err) : CRIO_E_NOT_FOUND;

	(void)call;
	if (r == CRIO_E_NOT_FOUND)
		fail(ret, 404, "can't find the container with id %s", arg);
	else if (r < 0)
		fail(ret, 500, "%s", err_text(&err));
	else
		give_json(ret, o);
}

static void pause_or_not(struct rpc_server *s, crio_call *call, const char *arg, bool pause, struct http_reply *ret)
{
	cleanup_err crio_err err = ERR_INIT;
	int r = s->args.lifecycle ? container_pause(s->args.lifecycle, call, arg, pause, &err) : CRIO_E_NOT_FOUND;

	if (r == CRIO_E_NOT_FOUND) {
		fail(ret, 404, "can't find the container with id %s", arg);
	} else if (r < 0) {
		fail(ret, r == CRIO_E_PRECONDITION ? 409 : 500, "%s", err_text(&err));
	} else {
		buf_adds(&ret->body, "200 OK");
		ret->type = "text/html";
	}
}

static void get_pause(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret)
{
	pause_or_not(s, call, arg, true, ret);
}

static void get_unpause(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret)
{
	pause_or_not(s, call, arg, false, ret);
}

/* What each thread is, and what it waits for in the kernel. */
static void get_threads(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret)
{
	char tasks[40];
	cleanup_closedir DIR *d = NULL;
	struct dirent *e;

	(void)s;
	(void)call;
	(void)arg;
	(void)snprintf(tasks, sizeof(tasks), "/proc/%d/task", (int)getpid());
	d = opendir(tasks);
	if (!d) {
		fail(ret, 500, "open %s: %s", tasks, strerror(errno));
		return;
	}
	buf_adds(&ret->body, "Threads of this daemon (it has no goroutines): id, name, state, system call, wait channel.\n\n");
	while ((e = readdir(d))) {
		char path[300], name[64] = "", stat[256] = "", call_[256] = "", wait[64] = "";
		const char *state;

		if (*e->d_name == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/comm", e->d_name);
		(void)fs_read_small(dirfd(d), path, name, sizeof(name), NULL);
		(void)snprintf(path, sizeof(path), "%s/stat", e->d_name);
		(void)fs_read_small(dirfd(d), path, stat, sizeof(stat), NULL);
		(void)snprintf(path, sizeof(path), "%s/syscall", e->d_name);
		(void)fs_read_small(dirfd(d), path, call_, sizeof(call_), NULL);
		(void)snprintf(path, sizeof(path), "%s/wchan", e->d_name);
		(void)fs_read_small(dirfd(d), path, wait, sizeof(wait), NULL);
		state = strrchr(stat, ')');
		call_[strcspn(call_, " ")] = '\0';
		buf_addf(&ret->body, "thread %s %s [%c] %s %s\n", e->d_name, name, state && state[1] ? state[2] : '?',
			 *call_ ? call_ : "-", *wait ? wait : "-");
	}
	ret->type = "text/plain";
}

/* The allocator's own account of the heap, as XML: malloc_info(3). */
static void get_heap(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret)
{
	cleanup_free char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	(void)s;
	(void)call;
	(void)arg;
	if (!f || malloc_info(0, f) != 0) {
		if (f)
			(void)fclose(f);
		fail(ret, 500, "no figures of the heap");
		return;
	}
	if (fclose(f) != 0) {
		fail(ret, 500, "no memory");
		return;
	}
	buf_add(&ret->body, text, n);
	ret->type = "application/octet-stream";
}

static const struct http_place places[] = {
    {"/config", WORK_FAST, get_config},
    {"/info", WORK_FAST, get_info},
    {"/containers/", WORK_FAST, get_container},
    {"/pause/", WORK_SETUP, get_pause},
    {"/unpause/", WORK_TEARDOWN, get_unpause},
    {"/debug/goroutines", WORK_FAST, get_threads},
    {"/debug/heap", WORK_FAST, get_heap},
};

const struct http_place *http_place_of(const char *url, const char **ret_arg)
{
	if (strlen(url) > URL_MAX || !str_is_printable(url))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		size_t n = strlen(places[i].path);
		bool more = places[i].path[n - 1] == '/';

		if (more ? strncmp(url, places[i].path, n) != 0 || !path_is_name(url + n) : !str_eq(url, places[i].path))
			continue;
		*ret_arg = url + n;
		return &places[i];
	}
	return NULL;
}
