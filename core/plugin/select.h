/*
 * select.h: which plugins a pod gets, and why. The configuration alone decides: the runtime handler first, then the workload
 * that the pod's annotations activate. A workload may change storage and network; the runtime only of the handler "" or
 * where the handler allows it (conf_workload_may_set_runtime).
 */
#ifndef PLUGIN_SELECT_H
#define PLUGIN_SELECT_H

#include "core/conf/conf.h"
#include "core/plugin/plugins.h"

struct selection {
	char *runtime, *storage, *network;  /* plugin names */
	char *runtime_instance;             /* the handler, or handler+workload where the workload changes it */
	char *network_instance;
	struct kvs runtime_options, network_options;
	char *why;                          /* "runtime crun: handler 'crun'; storage overlay: default; ..." */
};
void selection_release(struct selection *s);
#define cleanup_selection CLEANUP(selection_release)

/*
 * handler: the CRI's string ("" default). workload: the activated one or NULL. host_network: the pod shares the node's.
 * NOT_FOUND: an unknown handler (the text has the known ones). PRECONDITION: runtime_type pod, which has no plugin.
 */
int select_plugins(struct plugins *p, const struct conf *conf, const char *handler, const struct conf_workload *workload,
		   bool host_network, struct selection *ret, crio_err *err);
/* The default network: its readiness is the node's. */
int select_default_network(struct plugins *p, const struct conf *conf, struct selection *ret, crio_err *err);
/* What crio.conf has for a hook plugin: each setting that the plugin has an option for. Added to *ret. */
int select_hook_options(struct plugins *p, const struct conf *conf, const char *plugin, struct kvs *ret, crio_err *err);

#endif
