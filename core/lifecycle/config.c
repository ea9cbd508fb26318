/* config.c: see config.h. */
#include "core/lifecycle/config.h"

int config_set_str(char **field, const char *s)
{
	return config_take_str(field, strdup(s ? s : ""));
}

int config_take_str(char **field, char *s)
{
	if (!s)
		return CRIO_E_NOMEM;
	free(*field);
	*field = s;
	return 0;
}

/* Each of n fields "". */
static int init_strs(char **const *fields, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (config_set_str(fields[i], "") < 0)
			return CRIO_E_NOMEM;
	return 0;
}

static void free_str(char **s)
{
	free(*s);
	*s = NULL;
}

int resources_init(struct resources *r)
{
	char **const f[] = {&r->cpuset_cpus, &r->cpuset_mems};

	*r = (struct resources){0};
	return init_strs(f, ARRAY_SIZE(f));
}

void resources_release(struct resources *r)
{
	free_str(&r->cpuset_cpus);
	free_str(&r->cpuset_mems);
	for (size_t i = 0; i < r->n_hugepages; i++)
		free(r->hugepages[i].page_size);
	free(r->hugepages);
	kvs_release(&r->unified);
	*r = (struct resources){0};
}

int resources_copy(struct resources *dst, const struct resources *src)
{
	struct resources n = *src;

	n.cpuset_cpus = n.cpuset_mems = NULL;
	n.hugepages = NULL;
	n.n_hugepages = 0;
	n.unified = (struct kvs)KVS_INIT;
	if (config_set_str(&n.cpuset_cpus, src->cpuset_cpus) < 0 ||
	    config_set_str(&n.cpuset_mems, src->cpuset_mems) < 0 || kvs_copy(&n.unified, &src->unified) < 0)
		goto fail;
	if (src->n_hugepages) {
		n.hugepages = calloc(src->n_hugepages, sizeof(*n.hugepages));
		if (!n.hugepages)
			goto fail;
		for (; n.n_hugepages < src->n_hugepages; n.n_hugepages++) {
			struct hugepage_limit *h = &n.hugepages[n.n_hugepages];

			h->limit = src->hugepages[n.n_hugepages].limit;
			if (config_set_str(&h->page_size, src->hugepages[n.n_hugepages].page_size) < 0)
				goto fail;
		}
	}
	resources_release(dst);
	*dst = n;
	return 0;
fail:
	resources_release(&n);
	return CRIO_E_NOMEM;
}

int namespace_options_copy(struct namespace_options *dst, const struct namespace_options *src)
{
	struct namespace_options n = *src;

	n.target_id = NULL;
	n.userns.maps = (struct id_maps){0};
	if (config_set_str(&n.target_id, src->target_id) < 0 || id_maps_copy(&n.userns.maps, &src->userns.maps) < 0) {
		free(n.target_id);
		return CRIO_E_NOMEM;
	}
	free(dst->target_id);
	id_maps_release(&dst->userns.maps);
	*dst = n;
	return 0;
}

int security_context_init(struct security_context *s)
{
	char **const f[] = {&s->ns.target_id,	       &s->selinux.user,	  &s->selinux.role,
			    &s->selinux.type,	       &s->selinux.level,	  &s->run_as_username,
			    &s->seccomp.localhost_ref, &s->apparmor.localhost_ref};

	*s = (struct security_context){0};
	return init_strs(f, ARRAY_SIZE(f));
}

void security_context_release(struct security_context *s)
{
	free(s->ns.target_id);
	id_maps_release(&s->ns.userns.maps);
	free(s->selinux.user);
	free(s->selinux.role);
	free(s->selinux.type);
	free(s->selinux.level);
	free(s->run_as_username);
	free(s->supplemental_groups);
	free(s->seccomp.localhost_ref);
	free(s->apparmor.localhost_ref);
	strv_release(&s->cap_add);
	strv_release(&s->cap_drop);
	strv_release(&s->cap_ambient);
	strv_release(&s->masked_paths);
	strv_release(&s->readonly_paths);
	*s = (struct security_context){0};
}

int mount_config_init(struct mount_config *m)
{
	char **const f[] = {&m->container_path, &m->host_path, &m->image, &m->image_sub_path};

	*m = (struct mount_config){0};
	return init_strs(f, ARRAY_SIZE(f));
}

static void mount_config_release(struct mount_config *m)
{
	free(m->container_path);
	free(m->host_path);
	free(m->image);
	free(m->image_sub_path);
	id_maps_release(&m->maps);
}

int pod_config_init(struct pod_config *c)
{
	char **const f[] = {&c->meta.name, &c->meta.uid,      &c->meta.ns,
			    &c->hostname,  &c->log_directory, &c->cgroup_parent};
	int r;

	*c = (struct pod_config){0};
	r = init_strs(f, ARRAY_SIZE(f));
	if (!r)
		r = security_context_init(&c->sec);
	if (!r)
		r = resources_init(&c->overhead);
	if (!r)
		r = resources_init(&c->resources);
	return r;
}

void pod_config_release(struct pod_config *c)
{
	free(c->meta.name);
	free(c->meta.uid);
	free(c->meta.ns);
	free(c->hostname);
	free(c->log_directory);
	free(c->cgroup_parent);
	strv_release(&c->dns_servers);
	strv_release(&c->dns_searches);
	strv_release(&c->dns_options);
	for (size_t i = 0; i < c->n_ports; i++)
		free(c->ports[i].host_ip);
	free(c->ports);
	kvs_release(&c->labels);
	kvs_release(&c->annotations);
	kvs_release(&c->sysctls);
	security_context_release(&c->sec);
	resources_release(&c->overhead);
	resources_release(&c->resources);
	*c = (struct pod_config){0};
}

int container_config_init(struct container_config *c)
{
	char **const f[] = {&c->meta.name,   &c->image,	   &c->user_specified_image,
			    &c->working_dir, &c->log_path, &c->stop_signal};
	int r;

	*c = (struct container_config){0};
	r = init_strs(f, ARRAY_SIZE(f));
	if (!r)
		r = resources_init(&c->resources);
	if (!r)
		r = security_context_init(&c->sec);
	return r;
}

void container_config_release(struct container_config *c)
{
	free(c->meta.name);
	free(c->image);
	free(c->user_specified_image);
	strv_release(&c->command);
	strv_release(&c->args);
	free(c->working_dir);
	strv_release(&c->env);
	for (size_t i = 0; i < c->n_mounts; i++)
		mount_config_release(&c->mounts[i]);
	free(c->mounts);
	for (size_t i = 0; i < c->n_devices; i++) {
		free(c->devices[i].container_path);
		free(c->devices[i].host_path);
		free(c->devices[i].permissions);
	}
	free(c->devices);
	kvs_release(&c->labels);
	kvs_release(&c->annotations);
	free(c->log_path);
	resources_release(&c->resources);
	security_context_release(&c->sec);
	strv_release(&c->cdi_devices);
	free(c->stop_signal);
	*c = (struct container_config){0};
}
