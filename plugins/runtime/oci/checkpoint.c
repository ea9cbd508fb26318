/* Checkpoint and restore: the runtime's own commands, which call criu. A restore goes through a conmon, as a create does. */
#include <errno.h>
#include <fcntl.h>

#include "oci.h"

static int can_checkpoint(struct oci *o, crio_call *call, crio_err *err)
{
	struct run_args a = {.what = "checkpoint --help"};
	int r;

	list_add(&a.argv, "checkpoint");
	list_add(&a.argv, "--help");
	r = run(o, call, &a, NULL, NULL);
	list_release(&a.argv);
	/* a crun that was built without criu does not know the command */
	return r < 0 ? o->host->fail(err, CRIO_E_UNSUPPORTED, "configured runtime does not support checkpoint/restore: %s has no command checkpoint",
				     o->path)
		     : 0;
}

int op_checkpoint(void *self, crio_call *call, const struct crio_runtime_checkpoint_args *args, struct crio_runtime_no_out *out, crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = ctr_get(o, args->id);
	struct run_args a = {.what = "checkpoint"};
	int r;

	(void)out;
	if (!c)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "container '%s' is not one of runtime handler '%s'", str0(args->id),
				     o->host->instance_name(o->in));
	if (!path_is_good(args->image_dir) || !path_is_good(args->work_dir))
		return o->host->fail(err, CRIO_E_INVALID, "checkpoint container '%s': image_dir or work_dir is not an absolute path", c->id);
	if (watch_look(c, true))
		return o->host->fail(err, CRIO_E_PRECONDITION, "checkpoint container '%s': it has ended", c->id);
	r = can_checkpoint(o, call, err);
	if (r < 0)
		return r;
	a.systemd = c->systemd;
	list_add(&a.argv, "checkpoint");
	list_add(&a.argv, "--file-locks");
	list_add(&a.argv, "--image-path"), list_add(&a.argv, args->image_dir);
	list_add(&a.argv, "--work-path"), list_add(&a.argv, args->work_dir);
	if (args->leave_running)
		list_add(&a.argv, "--leave-running");
	list_add(&a.argv, c->id);
	r = run(o, call, &a, NULL, err);
	list_release(&a.argv);
	return r < 0 ? o->host->wrap(err, "checkpoint container '%s'", c->id) : 0;
}

/* criu's own words, which the runtime only points to. */
static void add_reason(struct oci *o, const struct crio_runtime_checkpoint_args *args, int code, crio_err *err)
{
	auto_free char *path = fmt("%s/restore.log", args->work_dir), *text = path ? file_read(path, 1u << 20, NULL) : NULL;
	char *at = text ? strstr(text, "Error") : NULL;

	(void)code;
	if (!at)
		return;
	at[strcspn(at, "\n")] = 0;
	tidy(at);
	(void)o->host->wrap(err, "criu: %.500s", at);
}

/*
 * Left to itself criu puts the processes into the cgroups that they came from, which on version 2 nobody corrects: another container's,
 * or ones that would be nobody's. They are to stay where the runtime puts criu. runc 1.1 has no flag for that; options in a file, which
 * config.json names, win over the runtime's, and are in place of its usual file of options: that comes first.
 */
static int write_options(struct oci *o, const char *dir, crio_err *err)
{
	const char *slash = strrchr(o->path, '/');
	auto_free char *usual = fmt("/etc/criu/%s.conf", slash ? slash + 1 : o->path), *path = fmt("%s/criu.conf", dir);
	auto_free char *text = usual ? file_read(usual, 65536, NULL) : NULL, *all = fmt("%s\nmanage-cgroups=ignore\n", str0(text));
	auto_close int fd = -1;

	if (!path || !all)
		return o->host->fail(err, CRIO_E_NOMEM, "no memory");
	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, all, strlen(all)) != (ssize_t)strlen(all))
		return o->host->fail(err, CRIO_E_IO, "write %s: %s", path, strerror(errno));
	return 0;
}

int op_restore(void *self, crio_call *call, const struct crio_runtime_checkpoint_args *args, struct crio_runtime_create_out *out, crio_err *err)
{
	static const char *const made[] = {"restore.log", "stats-restore"};
	struct oci *o = self;
	int r;

	if (args->create.n != 1 || !args->create.v || !path_is_good(args->image_dir) || !path_is_good(args->work_dir))
		return o->host->fail(err, CRIO_E_INVALID, "restore container '%s': bad arguments", str0(args->id));
	r = can_checkpoint(o, call, err);
	if (r < 0)
		return r;
	r = write_options(o, args->work_dir, err);
	if (r < 0)
		return r;
	r = conmon_restore(o, call, args, out, err);
	if (r < 0)
		add_reason(o, args, r, err);
	else
		for (size_t i = 0; i < N_ELEMENTS(made); i++) {
			auto_free char *path = fmt("%s/%s", args->work_dir, made[i]);

			if (path)
				(void)unlink(path);
		}
	return r;
}
