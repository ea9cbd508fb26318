/* convert_pod.c: PodSandboxConfig. */
#include "core/rpc/convert.h"

static int metadata(struct pod_metadata *dst, const CRI(PodSandboxMetadata) * src, crio_err *err)
{
	int r;

	if (!src)
		return err_set(err, CRIO_E_INVALID, "setting sandbox config: metadata is nil");
	if (!str_set(src->name))
		return err_set(err, CRIO_E_INVALID, "setting sandbox config: metadata.Name should not be empty");
	if (!str_set(src->namespace_))
		return err_set(err, CRIO_E_INVALID,
			       "setting pod sandbox name and id: cannot generate pod name without namespace");
	if (!str_set(src->uid))
		return err_set(err, CRIO_E_INVALID,
			       "setting pod sandbox name and id: cannot generate pod name without uid in metadata");
	dst->attempt = src->attempt;
	r = convert_str(&dst->name, src->name, err);
	if (!r)
		r = convert_str(&dst->uid, src->uid, err);
	if (!r)
		r = convert_str(&dst->ns, src->namespace_, err);
	return r;
}

static int dns(struct pod_config *dst, const CRI(DNSConfig) * src, crio_err *err)
{
	int r;

	if (!src)
		return 0;
	dst->has_dns = true;
	r = convert_strs(&dst->dns_servers, src->servers, src->n_servers, "dns_config.servers", CONVERT_LIST_MAX, err);
	if (!r)
		r = convert_strs(&dst->dns_searches, src->searches, src->n_searches, "dns_config.searches",
				 CONVERT_LIST_MAX, err);
	if (!r)
		r = convert_strs(&dst->dns_options, src->options, src->n_options, "dns_config.options",
				 CONVERT_LIST_MAX, err);
	return r;
}

static int ports(struct pod_config *dst, CRI(PortMapping) *const *v, size_t n, crio_err *err)
{
	int r = 0;
	size_t i;

	if (n > CONVERT_PORTS_MAX)
		return err_set(err, CRIO_E_INVALID, "port_mappings has %zu elements: at most %u are allowed", n,
			       CONVERT_PORTS_MAX);
	if (!n)
		return 0;
	dst->ports = calloc(n, sizeof(*dst->ports));
	if (!dst->ports)
		return err_nomem(err);
	for (i = 0; i < n && !r; i++) {
		struct port_mapping *p = &dst->ports[i];

		if ((int)v[i]->protocol < PROTO_TCP || (int)v[i]->protocol > PROTO_SCTP)
			return err_set(err, CRIO_E_INVALID, "port_mappings[%zu]: %d is no protocol", i,
				       (int)v[i]->protocol);
		if (v[i]->container_port < 0 || v[i]->container_port > 65535 || v[i]->host_port < 0 ||
		    v[i]->host_port > 65535)
			return err_set(err, CRIO_E_INVALID, "port_mappings[%zu]: port %d -> %d is out of range", i,
				       v[i]->host_port, v[i]->container_port);
		p->protocol = (enum protocol)v[i]->protocol;
		p->container_port = v[i]->container_port;
		p->host_port = v[i]->host_port;
		r = convert_str(&p->host_ip, v[i]->host_ip, err);
		dst->n_ports++;
	}
	return r;
}

static int linux_part(struct pod_config *dst, const CRI(LinuxPodSandboxConfig) * src, crio_err *err)
{
	int r;

	if (!src)
		return 0;
	r = convert_str(&dst->cgroup_parent, src->cgroup_parent, err);
	if (!r)
		r = convert_pod_security(&dst->sec, src->security_context, err);
	if (!r)
		r = convert_map(&dst->sysctls, src->sysctls, src->n_sysctls, err);
	if (!r)
		r = convert_resources(&dst->overhead, src->overhead, err);
	if (!r)
		r = convert_resources(&dst->resources, src->resources, err);
	return r;
}

int convert_pod_config(struct pod_config *dst, const CRI(PodSandboxConfig) * src, crio_err *err)
{
	int r;

	if (!src)
		return err_set(err, CRIO_E_INVALID, "setting sandbox config: config is nil");
	r = metadata(&dst->meta, src->metadata, err);
	if (!r)
		r = convert_str(&dst->hostname, src->hostname, err);
	if (!r)
		r = convert_str(&dst->log_directory, src->log_directory, err);
	if (!r)
		r = dns(dst, src->dns_config, err);
	if (!r)
		r = ports(dst, src->port_mappings, src->n_port_mappings, err);
	if (!r)
		r = convert_map(&dst->labels, src->labels, src->n_labels, err);
	if (!r)
		r = convert_map(&dst->annotations, src->annotations, src->n_annotations, err);
	if (!r)
		r = linux_part(dst, src->linux, err);
	return r;
}
