/* The runtime program: one process an operation, its words in the error when it fails. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "oci.h"

void run_env(struct list *env)
{
	const char *path = getenv("PATH"), *xdg = getenv("XDG_RUNTIME_DIR");

	list_addf(env, "PATH=%s",
		  path && *path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (xdg && *xdg)
		list_addf(env, "XDG_RUNTIME_DIR=%s", xdg);
}

void run_argv(struct oci *o, struct list *argv, bool systemd)
{
	list_add(argv, o->path);
	list_addf(argv, "--root=%s", o->root);
	if (systemd)
		list_add(argv, "--systemd-cgroup");
}

bool run_knows(struct oci *o, const char *id)
{
	auto_free char *dir = fmt("%s/%s", o->root, id);

	return dir && !access(dir, F_OK);
}

void run_forget(struct oci *o, const char *id)
{
	auto_free char *dir = fmt("%s/%s", o->root, id);
	DIR *d = dir ? opendir(dir) : NULL;

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));)
		(void)unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	(void)rmdir(dir);
}

int run(struct oci *o, crio_call *call, struct run_args *a, struct crio_bytes *out, crio_err *err)
{
	auto_list struct list argv = {0}, env = {0};
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_CAPTURE,
			       .path = o->path,
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = -1,
			       .netns_fd = -1,
			       .stdout_limit = RUNTIME_OUT_MAX,
			       .stderr_limit = MESSAGE_MAX};
	int r;

	run_argv(o, &argv, a->systemd);
	for (size_t i = 0; i < a->argv.n; i++)
		list_add(&argv, a->argv.v[i]);
	run_env(&env);
	if (argv.oom || env.oom || a->argv.oom)
		return o->host->fail(err, CRIO_E_NOMEM, "%s %s: no memory", o->path, a->what);
	s.argv = list_view(&argv);
	s.env = list_view(&env);
	if (a->input) {
		s.stdin_data.p = a->input;
		s.stdin_data.n = strlen(a->input);
	}
	r = o->host->spawn(o->in, call, &s, &got, err);
	if (r < 0)
		return o->host->wrap(err, "%s %s", o->path, a->what);
	if (got.exit_code) {
		auto_free char *text = strndup(str0(got.err.n ? got.err.p : got.out.p), MESSAGE_MAX);

		if (text)
			tidy(text);
		return o->host->fail(err, CRIO_E_INTERNAL, "%s %s ended with %d: %s", o->path, a->what, got.exit_code,
				     text && *text ? text : "it gave no reason");
	}
	if (out)
		*out = got.out;
	return 0;
}

void run_delete_detached(struct oci *o, crio_call *call, const char *id)
{
	auto_list struct list argv = {0}, env = {0};
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_DETACHED,
			       .path = o->path,
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = -1,
			       .netns_fd = -1};

	run_argv(o, &argv, false);
	list_add(&argv, "delete");
	list_add(&argv, "-f");
	list_add(&argv, id);
	run_env(&env);
	if (argv.oom || env.oom)
		return;
	s.argv = list_view(&argv);
	s.env = list_view(&env);
	if (o->host->spawn(o->in, call, &s, &got, NULL) < 0)
		return;
	if (!fd_wait(got.pidfd, POLLIN, CLEANUP_NS)) {
		o->host->log(o->in, CRIO_LOG_WARN, "%s delete -f %s does not end: killed", o->path, id);
		(void)sys_pidfd_signal(got.pidfd, 9);
	}
	close_fd(got.pidfd);
}
