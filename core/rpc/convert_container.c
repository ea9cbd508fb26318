/* convert_container.c: ContainerConfig. */
#include "core/rpc/convert.h"

static int metadata(struct container_config *dst, const CRI(ContainerConfig) * src, crio_err *err)
{
	if (!src->metadata)
		return err_set(err, CRIO_E_INVALID, "setting container config: metadata is nil");
	if (!str_set(src->metadata->name))
		return err_set(err, CRIO_E_INVALID, "setting container config: name is empty");
	dst->meta.attempt = src->metadata->attempt;
	return convert_str(&dst->meta.name, src->metadata->name, err);
}

static int image(struct container_config *dst, const CRI(ImageSpec) * src, crio_err *err)
{
	int r;

	if (!src)
		return err_set(err, CRIO_E_INVALID, "CreateContainerRequest.ContainerConfig.Image is nil");
	if (!str_set(src->image))
		return err_set(err, CRIO_E_INVALID, "CreateContainerRequest.ContainerConfig.Image.Image is empty");
	r = convert_str(&dst->image, src->image, err);
	if (!r)
		r = convert_str(&dst->user_specified_image, src->user_specified_image, err);
	return r;
}

/* Values are bytes on the wire: they are checked here as strings are elsewhere. A variable without a name is dropped,
 * as CRI-O does. */
static int env(struct container_config *dst, CRI(KeyValue) *const *v, size_t n, crio_err *err)
{
	size_t i, bytes = 0;

	if (n > CONVERT_ENV_MAX)
		return err_set(err, CRIO_E_INVALID, "config.envs has %zu elements: at most %u are allowed", n,
			       CONVERT_ENV_MAX);
	for (i = 0; i < n; i++) {
		const char *value = (const char *)v[i]->value.data;
		size_t len = v[i]->value.len;

		if (!str_set(v[i]->key))
			continue;
		if (strchr(v[i]->key, '='))
			return err_set(err, CRIO_E_INVALID, "config.envs[%zu].key contains '='", i);
		if (len && memchr(value, 0, len))
			return err_set(err, CRIO_E_INVALID, "config.envs[%zu].value (%s) contains a NUL byte", i,
				       v[i]->key);
		if (!str_is_utf8(value, len))
			return err_set(err, CRIO_E_INVALID, "config.envs[%zu].value (%s) is not valid UTF-8", i,
				       v[i]->key);
		bytes += strlen(v[i]->key) + len + 2;
		if (bytes > CONVERT_ENV_BYTES)
			return err_set(err, CRIO_E_INVALID, "config.envs is larger than %u bytes", CONVERT_ENV_BYTES);
		if (strv_addf(&dst->env, "%s=%.*s", v[i]->key, (int)len, len ? value : "") < 0)
			return err_nomem(err);
	}
	return 0;
}

static int mount(struct mount_config *dst, const CRI(Mount) * src, size_t i, crio_err *err)
{
	int r;

	if ((int)src->propagation < PROPAGATION_PRIVATE || (int)src->propagation > PROPAGATION_BIDIRECTIONAL)
		return err_set(err, CRIO_E_INVALID, "config.mounts[%zu]: %d is no propagation mode", i,
			       (int)src->propagation);
	if (!str_set(src->container_path))
		return err_set(err, CRIO_E_INVALID, "config.mounts[%zu]: mount.ContainerPath is empty", i);
	if (!str_set(src->host_path) && !(src->image && str_set(src->image->image)))
		return err_set(err, CRIO_E_INVALID, "config.mounts[%zu] (%s): mount.HostPath is empty", i,
			       src->container_path);
	dst->propagation = (enum mount_propagation)src->propagation;
	dst->readonly = src->readonly;
	dst->recursive_read_only = src->recursive_read_only;
	dst->selinux_relabel = src->selinux_relabel;
	r = convert_str(&dst->container_path, src->container_path, err);
	if (!r)
		r = convert_str(&dst->host_path, src->host_path, err);
	if (!r && src->image)
		r = convert_str(&dst->image, src->image->image, err);
	if (!r)
		r = convert_str(&dst->image_sub_path, src->image_sub_path, err);
	if (!r)
		r = convert_mappings(&dst->maps.uids, src->uidmappings, src->n_uidmappings, "mounts.uidMappings", err);
	if (!r)
		r = convert_mappings(&dst->maps.gids, src->gidmappings, src->n_gidmappings, "mounts.gidMappings", err);
	return r;
}

static int mounts(struct container_config *dst, CRI(Mount) *const *v, size_t n, crio_err *err)
{
	int r = 0;
	size_t i;

	if (n > CONVERT_MOUNTS_MAX)
		return err_set(err, CRIO_E_INVALID, "config.mounts has %zu elements: at most %u are allowed", n,
			       CONVERT_MOUNTS_MAX);
	if (!n)
		return 0;
	dst->mounts = calloc(n, sizeof(*dst->mounts));
	if (!dst->mounts)
		return err_nomem(err);
	for (i = 0; i < n && !r; i++) {
		dst->n_mounts++;
		if (mount_config_init(&dst->mounts[i]) < 0)
			return err_nomem(err);
		r = mount(&dst->mounts[i], v[i], i, err);
	}
	return r;
}

static int devices(struct container_config *dst, CRI(Device) *const *v, size_t n, crio_err *err)
{
	int r = 0;
	size_t i;

	if (n > CONVERT_DEVICES_MAX)
		return err_set(err, CRIO_E_INVALID, "config.devices has %zu elements: at most %u are allowed", n,
			       CONVERT_DEVICES_MAX);
	if (!n)
		return 0;
	dst->devices = calloc(n, sizeof(*dst->devices));
	if (!dst->devices)
		return err_nomem(err);
	for (i = 0; i < n && !r; i++) {
		struct device_config *d = &dst->devices[i];

		dst->n_devices++;
		r = convert_str(&d->container_path, v[i]->container_path, err);
		if (!r)
			r = convert_str(&d->host_path, v[i]->host_path, err);
		if (!r)
			r = convert_str(&d->permissions, v[i]->permissions, err);
	}
	return r;
}

static int cdi(struct container_config *dst, CRI(CDIDevice) *const *v, size_t n, crio_err *err)
{
	size_t i;

	if (n > CONVERT_DEVICES_MAX)
		return err_set(err, CRIO_E_INVALID, "config.CDI_devices has %zu elements: at most %u are allowed", n,
			       CONVERT_DEVICES_MAX);
	for (i = 0; i < n; i++)
		if (strv_add(&dst->cdi_devices, v[i]->name) < 0)
			return err_nomem(err);
	return 0;
}

/* The enum's names are Go identifiers: SIGRTMINPLUS1 is what everybody else calls SIGRTMIN+1. */
static int stop_signal(struct container_config *dst, int sig, crio_err *err)
{
	const ProtobufCEnumValue *v;
	char text[32];

	if (sig == RUNTIME__V1__SIGNAL__RUNTIME_DEFAULT)
		return 0;
	v = protobuf_c_enum_descriptor_get_value(&runtime__v1__signal__descriptor, sig);
	if (!v)
		return err_set(err, CRIO_E_INVALID, "config.stop_signal: %d is no signal", sig);
	if (str_starts(v->name, "SIGRTMINPLUS"))
		snprintf(text, sizeof(text), "SIGRTMIN+%s", v->name + strlen("SIGRTMINPLUS"));
	else if (str_starts(v->name, "SIGRTMAXMINUS"))
		snprintf(text, sizeof(text), "SIGRTMAX-%s", v->name + strlen("SIGRTMAXMINUS"));
	else
		snprintf(text, sizeof(text), "%s", v->name);
	return convert_str(&dst->stop_signal, text, err);
}

static int process(struct container_config *dst, const CRI(ContainerConfig) * src, crio_err *err)
{
	int r;

	dst->stdin_open = src->stdin;
	dst->stdin_once = src->stdin_once;
	dst->tty = src->tty;
	r = convert_strs(&dst->command, src->command, src->n_command, "config.command", CONVERT_ARGS_MAX, err);
	if (!r)
		r = convert_strs(&dst->args, src->args, src->n_args, "config.args", CONVERT_ARGS_MAX, err);
	if (!r)
		r = convert_str(&dst->working_dir, src->working_dir, err);
	if (!r)
		r = env(dst, src->envs, src->n_envs, err);
	if (!r)
		r = convert_str(&dst->log_path, src->log_path, err);
	if (!r)
		r = stop_signal(dst, (int)src->stop_signal, err);
	return r;
}

int convert_container_config(struct container_config *dst, const CRI(ContainerConfig) * src, crio_err *err)
{
	int r;

	if (!src)
		return err_set(err, CRIO_E_INVALID, "config is nil");
	r = metadata(dst, src, err);
	if (!r)
		r = image(dst, src->image, err);
	if (!r)
		r = process(dst, src, err);
	if (!r)
		r = mounts(dst, src->mounts, src->n_mounts, err);
	if (!r)
		r = devices(dst, src->devices, src->n_devices, err);
	if (!r)
		r = cdi(dst, src->cdi_devices, src->n_cdi_devices, err);
	if (!r)
		r = convert_map(&dst->labels, src->labels, src->n_labels, err);
	if (!r)
		r = convert_map(&dst->annotations, src->annotations, src->n_annotations, err);
	if (!r && src->linux)
		r = convert_resources(&dst->resources, src->linux->resources, err);
	if (!r && src->linux)
		r = convert_container_security(&dst->sec, src->linux->security_context, err);
	return r;
}
