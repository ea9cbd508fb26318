/*
 * A systemd scope for the monitor, asked for through busctl: needed only on nodes that run systemd, once a container,
 * and it keeps the D-Bus library out of the plugin.
 */
#include <stdio.h>

#include "oci.h"

#define SETTLE_NS (10 * NSEC_PER_SEC) /* for systemd to do what it has accepted; milliseconds unless the node is overloaded */

static bool is_in(pid_t pid, const char *unit)
{
	char path[64];
	auto_free char *text = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	text = file_read(path, 65536, NULL);
	return text && strstr(text, unit);
}

int scope_start(struct oci *o, crio_call *call, const char *unit, const char *slice, pid_t pid, crio_err *err)
{
	static const char *const head[] = {"call",
					   "org.freedesktop.systemd1",
					   "/org/freedesktop/systemd1",
					   "org.freedesktop.systemd1.Manager",
					   "StartTransientUnit",
					   "ssa(sv)a(sa(sv))"};
	auto_list struct list argv = {0}, env = {0};
	auto_free char *busctl = find_program("busctl");
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_CAPTURE,
			       .path = busctl,
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = -1,
			       .netns_fd = -1,
			       .stderr_limit = MESSAGE_MAX};
	int64_t end = mono_ns() + SETTLE_NS;
	int r;

	if (!busctl)
		return o->host->fail(err, CRIO_E_UNAVAILABLE,
				     "put conmon into %s: program busctl not found (package systemd)", unit);
	list_add(&argv, busctl);
	for (size_t i = 0; i < N_ELEMENTS(head); i++)
		list_add(&argv, head[i]);
	list_add(&argv, unit);
	list_add(&argv, "fail");
	list_add(&argv, "5"); /* properties: */
	list_add(&argv, "PIDs"), list_add(&argv, "au"), list_add(&argv, "1"), list_addf(&argv, "%d", (int)pid);
	list_add(&argv, "Slice"), list_add(&argv, "s"), list_add(&argv, slice);
	list_add(&argv, "DefaultDependencies"), list_add(&argv, "b"), list_add(&argv, "false");
	/* conmon ignores it: at shutdown the container ends first, then conmon by itself */
	list_add(&argv, "KillSignal"), list_add(&argv, "i"), list_add(&argv, "13");
	/* one that failed would keep its name from the next */
	list_add(&argv, "CollectMode"), list_add(&argv, "s"), list_add(&argv, "inactive-or-failed");
	list_add(&argv, "0"); /* auxiliary units */
	run_env(&env);
	if (argv.oom || env.oom)
		return o->host->fail(err, CRIO_E_NOMEM, "put conmon into %s: no memory", unit);
	s.argv = list_view(&argv);
	s.env = list_view(&env);
	r = o->host->spawn(o->in, call, &s, &got, err);
	if (r < 0)
		return o->host->wrap(err, "put conmon into %s", unit);
	if (got.exit_code)
		return o->host->fail(err, CRIO_E_INTERNAL, "put conmon into %s: systemd said: %s", unit,
				     str0(got.err.p));
	while (!is_in(pid, unit)) {
		if (o->host->cancelled(call))
			return o->host->fail(err, CRIO_E_CANCELLED, "put conmon into %s: cancelled", unit);
		if (mono_ns() >= end)
			return o->host->fail(err, CRIO_E_DEADLINE, "put conmon into %s: systemd has accepted that but not done it for %d s",
					     unit, (int)(SETTLE_NS / NSEC_PER_SEC));
		(void)usleep(2000);
	}
	return 0;
}
