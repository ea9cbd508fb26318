/*
 * overlay.c: layers as directories that the kernel's overlay file system stacks, laid out as containers/storage's
 * driver "overlay" does:
 *
 *	<root>/overlay/<id>/diff      the layer's own files
 *	<root>/overlay/<id>/link      26 characters: the name of the layer's short link
 *	<root>/overlay/<id>/lower     short links of its parents, nearest first: l/AAA:l/BBB (absent without parents)
 *	<root>/overlay/<id>/work      overlay's working directory (read-write layers)
 *	<root>/overlay/<id>/merged    mountpoint
 *	<root>/overlay/<id>/empty     stands in for the lower directory of a layer without parents
 *	<root>/overlay/l/<26>         -> ../<id>/diff
 *
 * A layer is built as .crio-new-<id> and renamed when it is whole; a removed one is renamed to .crio-del-<id>.<n>, and
 * the reaper thread (reap.c) deletes that. Whatever has these names after a crash is garbage.
 */
#include "plugins/storage/overlay/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static int ov_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)call;
	struct ov *o = calloc(1, sizeof(*o));
	if (!o)
		return host->fail(err, CRIO_E_NOMEM, "out of memory");
	o->l.host = host;
	o->in = in;
	o->l.fd = -1;
	const char *prog = host->opt_str(in, "mount_program");
	if (prog && *prog) {
		free(o);
		return host->fail(err, CRIO_E_UNSUPPORTED,
				  "mount_program = \"%s\": only the kernel's overlay is supported; remove the option",
				  prog);
	}
	const char *mask = host->opt_str(in, "force_mask"), *composefs = host->opt_str(in, "use_composefs");
	if ((mask && *mask) || (composefs && !strcmp(composefs, "true"))) {
		free(o);
		return host->fail(err, CRIO_E_UNSUPPORTED,
				  "force_mask and use_composefs are not supported; remove the option");
	}
	o->metacopy = access("/sys/module/overlay/parameters/metacopy", F_OK) == 0;
	*self = o;
	return 0;
}

static void ov_close(void *p)
{
	struct ov *o = p;
	ov_reaper_stop(o);
	if (o->l.fd >= 0)
		(void)close(o->l.fd);
	free(o->l.home);
	free(o);
}

static int ov_check(void *p, crio_call *call, crio_err *err)
{
	const struct ov *o = p;
	(void)call;
	return layers_check_kernel(&o->l, "overlay", err);
}

static const char *fs_name(int fd)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} known[] = {
	    {EXT4_SUPER_MAGIC, "extfs"},	  {0x58465342 /* XFS */, "xfs"},
	    {BTRFS_SUPER_MAGIC, "btrfs"},	  {TMPFS_MAGIC, "tmpfs"},
	    {OVERLAYFS_SUPER_MAGIC, "overlayfs"}, {0x2fc12fc1, "zfs"},
	    {F2FS_SUPER_MAGIC, "f2fs"},		  {NFS_SUPER_MAGIC, "nfs"},
	};
	struct statfs f;
	if (fstatfs(fd, &f) == 0)
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if ((unsigned long)f.f_type == known[i].magic)
				return known[i].name;
	return "<unknown>";
}

static int ov_store_open(void *p, crio_call *call, const struct crio_storage_open_args *a,
			 struct crio_storage_open_out *out, crio_err *err)
{
	struct ov *o = p;
	(void)call;
	if (o->l.fd >= 0)
		return o->l.host->fail(err, CRIO_E_PRECONDITION, "the instance serves %s already", o->l.home);
	if (a->root[0] != '/' || strpbrk(a->root, ":,\\\"\n"))
		return o->l.host->fail(err, CRIO_E_INVALID,
				       "root '%s': overlay needs an absolute path without : , \\ or \"", a->root);
	o->read_only = a->read_only;
	if (asprintf(&o->l.home, "%s/overlay", a->root) < 0) {
		o->l.home = NULL;
		return o->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	if (!o->read_only && mkdir(o->l.home, 0700) < 0 && errno != EEXIST)
		return layers_fail_errno(&o->l, err, "create", "");
	int fd = open(o->l.home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return layers_fail_errno(&o->l, err, "open", "");
	if (!o->read_only && mkdirat(fd, "l", 0755) < 0 && errno != EEXIST) {
		int r = layers_fail_errno(&o->l, err, "create", "l");
		(void)close(fd);
		return r;
	}
	o->l.fd = fd;
	if (!o->read_only)
		ov_reaper_start(o);
	out->whiteout = CRIO_WHITEOUT_OVERLAY;
	out->driver = "overlay";
	out->backing = o->backing = fs_name(fd);
	return 0;
}

static int ov_release(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
		      crio_err *err)
{
	const struct ov *o = p;
	(void)call;
	(void)out;
	return layers_check_id(&o->l, a->id, err);
}

static int ov_list(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_strs_out *out,
		   crio_err *err)
{
	const struct ov *o = p;
	(void)a;
	return layers_list(&o->l, call, "", out, err);
}

static int ov_status(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_map_out *out,
		     crio_err *err)
{
	struct ov *o = p;
	(void)a;
	struct crio_kv *v = o->l.host->alloc(call, 6 * sizeof(*v));
	if (!v)
		return o->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	int meta = 0;
	struct crio_strs opts = o->l.host->opt_strs(o->in, "mountopt");
	for (size_t i = 0; i < opts.n; i++)
		meta |= o->metacopy && !strcmp(opts.v[i], "metacopy=on");
	v[0] = (struct crio_kv){"Backing Filesystem", o->backing ? o->backing : ""};
	v[1] = (struct crio_kv){"Supports d_type", "true"};
	v[2] = (struct crio_kv){"Native Overlay Diff", meta ? "false" : "true"};
	v[3] = (struct crio_kv){"Using metacopy", meta ? "true" : "false"};
	v[4] = (struct crio_kv){"Supports shifting", "false"};
	v[5] = (struct crio_kv){"Supports volatile", "true"};
	out->v = (struct crio_map){v, 6};
	return 0;
}

static const struct crio_option options[] = {
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STRS,
     .name = "mountopt",
     .flags = CRIO_OPT_RELOADABLE,
     .help = "mount options of every layer, such as nodev,metacopy=on"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "volatile",
     .dflt = "true",
     .flags = CRIO_OPT_RELOADABLE,
     .help = "containers' layers are not synced to disk when they are unmounted"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "skip_mount_home",
     .dflt = "true",
     .help = "accepted for storage.conf: the driver's directory is never made a mount of its own"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "ignore_chown_errors",
     .dflt = "false",
     .help = "accepted for storage.conf: without effect for root"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "override_kernel_check",
     .dflt = "false",
     .help = "accepted for storage.conf: without effect"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "size",
     .dflt = "",
     .help = "accepted for storage.conf: quotas are not supported"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "inodes",
     .dflt = "",
     .help = "accepted for storage.conf: quotas are not supported"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "mount_program",
     .dflt = "",
     .help = "must be empty: only the kernel's overlay is used"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "force_mask",
     .dflt = "",
     .help = "must be empty"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "use_composefs",
     .dflt = "",
     .help = "must not be true"},
};

static int ov_reload(void *p, crio_call *call, crio_err *err)
{
	(void)p;
	(void)call;
	(void)err;
	return 0; /* options are read where they are used */
}

static const struct crio_storage_ops ops = {
    .store_open = ov_store_open,
    .apply_begin = ov_apply_begin,
    .apply_end = ov_apply_end,
    .layer_create = ov_layer_create,
    .mounts = ov_mounts,
    .release = ov_release,
    .tree_open = ov_tree_open,
    .remove = ov_remove,
    .list = ov_list,
    .usage = ov_usage,
    .status = ov_status,
    .info = ov_info,
    .recover = ov_recover,
};

static const struct crio_plugin desc = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_STORAGE, CRIO_THREADS_PER_OBJECT, ops),
    .name = "overlay",
    .version = PACKAGE_VERSION,
    .summary = "layers stacked by the kernel's overlay file system",
    .options = options,
    .options_n = sizeof(options) / sizeof(options[0]),
    .open = ov_open,
    .close = ov_close,
    .reload = ov_reload,
    .check = ov_check,
};

CRIO_PLUGIN_REGISTER(overlay, desc)
