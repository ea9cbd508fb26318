/* The shim program: `start` prints where it listens, `delete` cleans up after one that has died. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "plugins/runtime/kata/kata.h"

#define WORDS_MAX 4096

static void argv_env(struct kata *k, struct task *t, struct list *argv, struct list *env)
{
	auto_free char *publish = find_program("true"); /* we need no events: Wait tells */
	const char *path = getenv("PATH");

	list_add(argv, k->path);
	list_add(argv, "-namespace"), list_add(argv, SHIM_NAMESPACE);
	list_add(argv, "-address"), list_add(argv, "");
	list_add(argv, "-publish-binary"), list_add(argv, publish ? publish : "/bin/true");
	list_add(argv, "-id"), list_add(argv, t->id);
	list_addf(env, "PATH=%s",
		  path && *path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	list_add(env, "TTRPC_ADDRESS=");
	list_add(env, "MAX_SHIM_VERSION=2");
	list_add(env, "GOMAXPROCS=2");
}

/* What `start` printed: an address, or a JSON object with one. */
static char *parse_address(struct kata *k, const char *text, crio_err *err)
{
	auto_free char *protocol = NULL;
	char *address;
	int64_t version = 0;

	while (*text == ' ' || *text == '\n')
		text++;
	if (*text != '{') {
		address = strndup(text, strcspn(text, " \r\n"));
	} else {
		address = json_find_str(text, "address");
		protocol = json_find_str(text, "protocol");
		if (!json_find_int(text, "version", &version) || version != 2 ||
		    (protocol && strcmp(protocol, "ttrpc") != 0)) {
			free(address);
			(void)k->host->fail(err, CRIO_E_UNSUPPORTED,
					    "shim %s speaks version %lld over %s; 2 over ttrpc is needed", k->path,
					    (long long)version, str0(protocol));
			return NULL;
		}
	}
	if (!address || (strncmp(address, "unix://", 7) != 0 && *address != '/')) {
		(void)k->host->fail(err, CRIO_E_CORRUPT, "shim %s start printed no address: '%.200s'", k->path,
				    str0(address));
		free(address);
		return NULL;
	}
	return address;
}

int shim_start(struct kata *k, crio_call *call, struct task *t, crio_err *err)
{
	auto_list struct list argv = {0}, env = {0};
	auto_free char *log = fmt("%s/log", t->bundle);
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};
	char *address;
	int r;

	/* a new shim waits for a reader of this fifo before it serves */
	if (log && mkfifo(log, 0600) && errno != EEXIST)
		return k->host->fail(err, CRIO_E_IO, "fifo %s: %s", log, strerror(errno));
	r = task_fifos_open(t, err);
	if (r < 0)
		return r;
	argv_env(k, t, &argv, &env);
	list_add(&argv, "start");
	if (!log || argv.oom || env.oom)
		return k->host->fail(err, CRIO_E_NOMEM, "start shim %s: no memory", k->path);
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_CAPTURE,
			       .path = k->path,
			       .argv = list_view(&argv),
			       .env = list_view(&env),
			       .cwd = t->bundle,
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = -1,
			       .netns_fd = -1,
			       .stdout_limit = WORDS_MAX,
			       .stderr_limit = WORDS_MAX};
	r = k->host->spawn(k->in, call, &s, &got, err);
	if (r < 0)
		return k->host->wrap(err, "start shim %s", k->path);
	if (got.exit_code) {
		auto_free char *words = strndup(str0(got.err.p), WORDS_MAX);

		if (words)
			tidy(words);
		return k->host->fail(err, CRIO_E_INTERNAL, "shim %s start ended with %d: %s", k->path, got.exit_code,
				     str0(words));
	}
	address = parse_address(k, str0(got.out.p), err);
	if (!address)
		return CRIO_E_CORRUPT;
	free(t->address);
	t->address = address;
	return 0;
}

void shim_delete(struct kata *k, crio_call *call, struct task *t)
{
	auto_list struct list argv = {0}, env = {0};
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};

	argv_env(k, t, &argv, &env);
	list_add(&argv, "-bundle"), list_add(&argv, t->bundle);
	list_add(&argv, "delete");
	if (argv.oom || env.oom || access(t->bundle, F_OK))
		return;
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_DETACHED,
			       .path = k->path,
			       .argv = list_view(&argv),
			       .env = list_view(&env),
			       .cwd = t->bundle,
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = -1,
			       .netns_fd = -1};
	if (k->host->spawn(k->in, call, &s, &got, NULL) < 0)
		return;
	if (!fd_wait(got.pidfd, POLLIN, CLEANUP_NS)) {
		k->host->log(k->in, CRIO_LOG_WARN, "%s delete for %s does not end: killed", k->path, t->id);
		(void)sys_pidfd_signal(got.pidfd, SIGKILL);
	}
	close_fd(got.pidfd);
}

int shim_version(struct kata *k, crio_call *call, char **ret, crio_err *err)
{
	auto_list struct list argv = {0}, env = {0};
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};
	const char *v;
	int r;

	list_add(&argv, k->path);
	list_add(&argv, "-v");
	list_add(&env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	if (argv.oom || env.oom)
		return k->host->fail(err, CRIO_E_NOMEM, "no memory");
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_CAPTURE,
			       .path = k->path,
			       .argv = list_view(&argv),
			       .env = list_view(&env),
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = -1,
			       .netns_fd = -1,
			       .stdout_limit = WORDS_MAX,
			       .stderr_limit = WORDS_MAX};
	r = k->host->spawn(k->in, call, &s, &got, err);
	if (r < 0)
		return k->host->wrap(err, "version of %s", k->path);
	v = strstr(str0(got.out.p), "Version:");
	v = v ? v + 8 + strspn(v + 8, " ") : str0(got.out.p);
	*ret = strndup(v, strcspn(v, "\n"));
	return *ret ? 0 : k->host->fail(err, CRIO_E_NOMEM, "no memory");
}
