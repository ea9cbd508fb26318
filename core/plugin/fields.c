#include "core/plugin/fields.h"

#include <errno.h>
#include <fcntl.h>

#include "core/exec/call.h"

#define S(s, m) { #m, offsetof(struct crio_##s, m), sizeof(((struct crio_##s *)0)->m), FIELD_SCALAR, NULL, 0 }
#define FD(s, m) { #m, offsetof(struct crio_##s, m), sizeof(((struct crio_##s *)0)->m), FIELD_FD, NULL, 0 }
#define T(s, m) { #m, offsetof(struct crio_##s, m), sizeof(((struct crio_##s *)0)->m), FIELD_STR, NULL, 0 }
#define L(s, m) { #m, offsetof(struct crio_##s, m), sizeof(((struct crio_##s *)0)->m), FIELD_STRS, NULL, 0 }
#define M(s, m) { #m, offsetof(struct crio_##s, m), sizeof(((struct crio_##s *)0)->m), FIELD_MAP, NULL, 0 }
#define I(s, m) { #m, offsetof(struct crio_##s, m), sizeof(((struct crio_##s *)0)->m), FIELD_INTS, NULL, 0 }
#define R(s, m, r) \
	{ #m, offsetof(struct crio_##s, m), sizeof(((struct crio_##s *)0)->m), FIELD_ROWS, fields_##r, sizeof(struct crio_##r) }
/* Rows spelled out in the struct itself: v, n, stride. */
#define RV(s, r) \
	{ "v", offsetof(struct crio_##s, v), 3 * sizeof(size_t), FIELD_ROWS, fields_##r, sizeof(struct crio_##r) }
#define END { NULL, 0, 0, FIELD_END, NULL, 0 }

const struct field fields_mount_row[] = { S(mount_row, size), S(mount_row, reserved), T(mount_row, type), T(mount_row, source),
	T(mount_row, target), L(mount_row, options), END };
const struct field fields_port_mapping[] = { S(port_mapping, size), S(port_mapping, host_port), S(port_mapping, container_port),
	S(port_mapping, reserved), T(port_mapping, protocol), T(port_mapping, host_ip), END };
const struct field fields_network_attachment[] = { S(network_attachment, size), S(network_attachment, reserved),
	T(network_attachment, id), T(network_attachment, ifname), END };
const struct field fields_storage_change[] = { S(storage_change, size), S(storage_change, kind), T(storage_change, path), END };

const struct field fields_runtime_sandbox_args[] = { S(runtime_sandbox_args, size), FD(runtime_sandbox_args, netns_fd),
	T(runtime_sandbox_args, id), T(runtime_sandbox_args, bundle), T(runtime_sandbox_args, netns_path),
	T(runtime_sandbox_args, cgroup_parent), M(runtime_sandbox_args, annotations), S(runtime_sandbox_args, created_ns), END };
const struct field fields_runtime_sandbox_out[] = { S(runtime_sandbox_out, size), S(runtime_sandbox_out, pid),
	S(runtime_sandbox_out, start_time), END };
const struct field fields_runtime_create_args[] = { S(runtime_create_args, size), S(runtime_create_args, cgroup_manager),
	T(runtime_create_args, id), T(runtime_create_args, sandbox_id), T(runtime_create_args, name),
	T(runtime_create_args, bundle), T(runtime_create_args, persist_dir), T(runtime_create_args, log_path),
	T(runtime_create_args, exit_dir), T(runtime_create_args, attach_dir), T(runtime_create_args, cgroup_parent),
	T(runtime_create_args, sandbox_netns), S(runtime_create_args, log_size_max), S(runtime_create_args, timeout_ns),
	S(runtime_create_args, terminal), S(runtime_create_args, stdin_open), S(runtime_create_args, stdin_once),
	S(runtime_create_args, no_pivot), S(runtime_create_args, log_to_journald), S(runtime_create_args, no_sync_log),
	R(runtime_create_args, rootfs, mount_row), L(runtime_create_args, monitor_env), T(runtime_create_args, monitor_cgroup),
	END };
const struct field fields_runtime_create_out[] = { S(runtime_create_out, size), S(runtime_create_out, pid),
	S(runtime_create_out, start_time), S(runtime_create_out, monitor_pid), S(runtime_create_out, reserved),
	S(runtime_create_out, monitor_start_time), END };
const struct field fields_runtime_id_args[] = { S(runtime_id_args, size), S(runtime_id_args, force), T(runtime_id_args, id), END };
const struct field fields_runtime_no_out[] = { S(runtime_no_out, size), S(runtime_no_out, reserved), END };
const struct field fields_runtime_kill_args[] = { S(runtime_kill_args, size), S(runtime_kill_args, signal),
	T(runtime_kill_args, id), S(runtime_kill_args, all), S(runtime_kill_args, reserved), END };
const struct field fields_runtime_state_out[] = { S(runtime_state_out, size), S(runtime_state_out, status),
	S(runtime_state_out, pid), S(runtime_state_out, exit_code), S(runtime_state_out, finished_ns), S(runtime_state_out, oom),
	S(runtime_state_out, reserved), END };
const struct field fields_runtime_exec_args[] = { S(runtime_exec_args, size), S(runtime_exec_args, tty), T(runtime_exec_args, id),
	T(runtime_exec_args, process_json), FD(runtime_exec_args, stdin_fd), FD(runtime_exec_args, stdout_fd),
	FD(runtime_exec_args, stderr_fd), S(runtime_exec_args, reserved), L(runtime_exec_args, cgroup_procs), END };
const struct field fields_runtime_exec_out[] = { S(runtime_exec_out, size), S(runtime_exec_out, pid), T(runtime_exec_out, exec_id),
	FD(runtime_exec_out, tty_fd), FD(runtime_exec_out, exit_fd), END };
const struct field fields_runtime_exec_ref[] = { S(runtime_exec_ref, size), S(runtime_exec_ref, signal), T(runtime_exec_ref, id),
	T(runtime_exec_ref, exec_id), S(runtime_exec_ref, height), S(runtime_exec_ref, width), S(runtime_exec_ref, reserved), END };
const struct field fields_runtime_exec_exit[] = { S(runtime_exec_exit, size), S(runtime_exec_exit, exit_code),
	S(runtime_exec_exit, not_started), S(runtime_exec_exit, reserved), T(runtime_exec_exit, message), END };
const struct field fields_runtime_resize_args[] = { S(runtime_resize_args, size), S(runtime_resize_args, height),
	S(runtime_resize_args, width), T(runtime_resize_args, id), END };
const struct field fields_runtime_update_args[] = { S(runtime_update_args, size), S(runtime_update_args, reserved),
	T(runtime_update_args, id), T(runtime_update_args, resources_json), END };
const struct field fields_runtime_stats_out[] = { S(runtime_stats_out, size), S(runtime_stats_out, reserved),
	T(runtime_stats_out, json), END };
const struct field fields_runtime_pids_out[] = { S(runtime_pids_out, size), S(runtime_pids_out, n), I(runtime_pids_out, pids), END };
const struct field fields_runtime_features_out[] = { S(runtime_features_out, size), S(runtime_features_out, reserved),
	T(runtime_features_out, json), T(runtime_features_out, version), END };
const struct field fields_runtime_fd_out[] = { S(runtime_fd_out, size), FD(runtime_fd_out, fd), END };
const struct field fields_runtime_port_forward_args[] = { S(runtime_port_forward_args, size), S(runtime_port_forward_args, port),
	T(runtime_port_forward_args, sandbox_id), FD(runtime_port_forward_args, netns_fd), S(runtime_port_forward_args, reserved), END };
const struct field fields_runtime_reconnect_args[] = { S(runtime_reconnect_args, size), S(runtime_reconnect_args, pid),
	S(runtime_reconnect_args, start_time), T(runtime_reconnect_args, id), T(runtime_reconnect_args, sandbox_id),
	T(runtime_reconnect_args, bundle), T(runtime_reconnect_args, persist_dir), T(runtime_reconnect_args, exit_dir),
	T(runtime_reconnect_args, attach_dir), S(runtime_reconnect_args, monitor_pid), S(runtime_reconnect_args, reserved),
	S(runtime_reconnect_args, monitor_start_time), END };
const struct field fields_runtime_checkpoint_args[] = { S(runtime_checkpoint_args, size), S(runtime_checkpoint_args, leave_running),
	T(runtime_checkpoint_args, id), T(runtime_checkpoint_args, image_dir), T(runtime_checkpoint_args, work_dir),
	R(runtime_checkpoint_args, create, runtime_create_args), T(runtime_checkpoint_args, process_label),
	T(runtime_checkpoint_args, mount_label), END };

const struct field fields_storage_open_args[] = { S(storage_open_args, size), S(storage_open_args, read_only),
	T(storage_open_args, root), T(storage_open_args, runroot), END };
const struct field fields_storage_open_out[] = { S(storage_open_out, size), S(storage_open_out, whiteout),
	T(storage_open_out, driver), T(storage_open_out, backing), END };
const struct field fields_storage_apply_args[] = { S(storage_apply_args, size), S(storage_apply_args, commit),
	T(storage_apply_args, id), T(storage_apply_args, parent), END };
const struct field fields_storage_apply_out[] = { S(storage_apply_out, size), FD(storage_apply_out, dirfd), END };
const struct field fields_storage_create_args[] = { S(storage_create_args, size), S(storage_create_args, reserved),
	T(storage_create_args, id), T(storage_create_args, parent), T(storage_create_args, mount_label),
	S(storage_create_args, quota), S(storage_create_args, inode_quota), END };
const struct field fields_storage_id_args[] = { S(storage_id_args, size), S(storage_id_args, read_only), T(storage_id_args, id),
	T(storage_id_args, mount_label), L(storage_id_args, options), END };
const struct field fields_storage_no_out[] = { S(storage_no_out, size), S(storage_no_out, reserved), END };
const struct field fields_storage_mounts_out[] = { S(storage_mounts_out, size), S(storage_mounts_out, reserved),
	R(storage_mounts_out, rows, mount_row), END };
const struct field fields_storage_tree_out[] = { S(storage_tree_out, size), FD(storage_tree_out, dirfd), END };
const struct field fields_storage_usage_args[] = { S(storage_usage_args, size), S(storage_usage_args, exact),
	T(storage_usage_args, id), END };
const struct field fields_storage_usage_out[] = { S(storage_usage_out, size), S(storage_usage_out, reserved),
	S(storage_usage_out, bytes), S(storage_usage_out, inodes), END };
const struct field fields_storage_strs_out[] = { S(storage_strs_out, size), S(storage_strs_out, reserved), L(storage_strs_out, v),
	END };
const struct field fields_storage_map_out[] = { S(storage_map_out, size), S(storage_map_out, reserved), M(storage_map_out, v), END };
const struct field fields_storage_recover_args[] = { S(storage_recover_args, size), S(storage_recover_args, reserved),
	L(storage_recover_args, known), END };
const struct field fields_storage_changes_out[] = { S(storage_changes_out, size), S(storage_changes_out, reserved),
	RV(storage_changes_out, storage_change), END };
const struct field fields_storage_blob_args[] = { S(storage_blob_args, size), FD(storage_blob_args, fd), T(storage_blob_args, id),
	T(storage_blob_args, parent), T(storage_blob_args, media_type), END };

const struct field fields_network_args[] = { S(network_args, size), FD(network_args, netns_fd), T(network_args, id),
	T(network_args, name), T(network_args, ns), T(network_args, uid), T(network_args, netns_path), T(network_args, ifname),
	T(network_args, cgroup_path), R(network_args, ports, port_mapping), S(network_args, ingress_rate),
	S(network_args, egress_rate), L(network_args, aliases), M(network_args, annotations), T(network_args, result_json), END };
const struct field fields_network_out[] = { S(network_out, size), S(network_out, reserved), L(network_out, ips),
	T(network_out, result_json), END };
const struct field fields_network_no_args[] = { S(network_no_args, size), S(network_no_args, reserved), END };
const struct field fields_network_no_out[] = { S(network_no_out, size), S(network_no_out, reserved), END };
const struct field fields_network_status_out[] = { S(network_status_out, size), S(network_status_out, ready),
	T(network_status_out, reason), T(network_status_out, message), T(network_status_out, network), END };
const struct field fields_network_gc_args[] = { S(network_gc_args, size), S(network_gc_args, reserved),
	RV(network_gc_args, network_attachment), END };

const struct field fields_hook_no_args[] = { S(hook_no_args, size), S(hook_no_args, reserved), END };
const struct field fields_hook_stages_out[] = { S(hook_stages_out, size), S(hook_stages_out, stages), END };
const struct field fields_hook_args[] = { S(hook_args, size), S(hook_args, stage), T(hook_args, pod_id), T(hook_args, container_id),
	T(hook_args, pod_json), T(hook_args, container_json), T(hook_args, spec_json), END };
const struct field fields_hook_out[] = { S(hook_out, size), S(hook_out, reserved), T(hook_out, adjust_json), M(hook_out, updates),
	M(hook_out, evict), END };

/* All ROWS have this shape. */
struct rows {
	const void *v;
	size_t n, stride;
};

static bool dup_str(crio_call *call, const char **s)
{
	if (!*s)
		return true;
	*s = call_strdup(call, *s);
	return *s != NULL;
}

static bool dup_strs(crio_call *call, struct crio_strs *l)
{
	const char **v = call_alloc(call, (l->n + 1) * sizeof(*v));
	if (!v)
		return false;
	for (size_t i = 0; i < l->n; i++) {
		v[i] = l->v[i];
		if (!dup_str(call, &v[i]))
			return false;
	}
	l->v = v;
	return true;
}

static bool dup_map(crio_call *call, struct crio_map *m)
{
	struct crio_kv *v = call_alloc(call, (m->n + 1) * sizeof(*v));
	if (!v)
		return false;
	for (size_t i = 0; i < m->n; i++) {
		v[i] = m->v[i];
		if (!dup_str(call, &v[i].key) || !dup_str(call, &v[i].value))
			return false;
	}
	m->v = v;
	return true;
}

static bool dup_fields(const struct field *t, void *s, crio_call *call);

static bool dup_rows(const struct field *f, struct rows *r, crio_call *call)
{
	char *v = call_alloc(call, r->n * f->row_size + 1);
	if (!v)
		return false;
	for (size_t i = 0; i < r->n; i++) {
		const char *src = (const char *)r->v + i * r->stride;
		size_t n = r->stride < f->row_size ? r->stride : f->row_size;
		memcpy(v + i * f->row_size, src, n);
		if (!dup_fields(f->row, v + i * f->row_size, call))
			return false;
	}
	r->v = v;
	r->stride = f->row_size;
	return true;
}

static bool dup_fields(const struct field *t, void *s, crio_call *call)
{
	for (; t->type != FIELD_END; t++) {
		char *p = (char *)s + t->offset;
		bool ok = true;
		switch (t->type) {
		case FIELD_STR:
			ok = dup_str(call, (const char **)(void *)p);
			break;
		case FIELD_STRS:
			ok = dup_strs(call, (struct crio_strs *)(void *)p);
			break;
		case FIELD_MAP:
			ok = dup_map(call, (struct crio_map *)(void *)p);
			break;
		case FIELD_ROWS:
			ok = dup_rows(t, (struct rows *)(void *)p, call);
			break;
		default: /* scalars; descriptors are duplicated last, so that a failure leaves none open */
			break;
		}
		if (!ok)
			return false;
	}
	return true;
}

void *fields_copy(const struct field *t, const void *src, size_t size, crio_call *call, int *ret_errno)
{
	uint32_t theirs;
	memcpy(&theirs, src, sizeof(theirs));
	char *s = call_alloc(call, size);
	*ret_errno = ENOMEM;
	if (!s)
		return NULL;
	memcpy(s, src, theirs < size ? theirs : size);
	if (!dup_fields(t, s, call))
		return NULL;
	for (const struct field *f = t; f->type != FIELD_END; f++) {
		if (f->type != FIELD_FD)
			continue;
		int32_t *fd = (int32_t *)(void *)(s + f->offset);
		if (*fd < 0)
			continue;
		*fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
		if (*fd >= 0)
			continue;
		*ret_errno = errno;
		/* Those before it are ours, it and those behind it are not. */
		for (const struct field *g = t; g != f; g++)
			if (g->type == FIELD_FD)
				(void)safe_close(*(int32_t *)(void *)(s + g->offset));
		return NULL;
	}
	return s;
}

void fields_close(const struct field *t, const void *s)
{
	for (; t->type != FIELD_END; t++)
		if (t->type == FIELD_FD)
			(void)safe_close(*(const int32_t *)(const void *)((const char *)s + t->offset));
}
