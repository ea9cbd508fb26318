/* runc: the OCI library with the reference runtime. */
#include "plugins/runtime/oci/oci.h"

static const struct oci_profile profile = {.program = "runc", .fifo_state = true};
static const struct crio_option options[] = {OCI_OPTIONS("")};

static int runc_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	return oci_open(&profile, host, in, call, self, err);
}

static const struct crio_plugin plugin = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_RUNTIME, CRIO_THREADS_PARALLEL, oci_ops),
    .caps = CRIO_RUNTIME_CAP_EXEC_TTY | CRIO_RUNTIME_CAP_ATTACH | CRIO_RUNTIME_CAP_UPDATE | CRIO_RUNTIME_CAP_PAUSE | CRIO_RUNTIME_CAP_CHECKPOINT |
	    CRIO_RUNTIME_CAP_HOST_NETNS,
    .name = "runc",
    .version = VERSION,
    .summary = "runc, each container under a conmon",
    .options = options,
    .options_n = N_ELEMENTS(options),
    .open = runc_open,
    .close = oci_close,
    .check = oci_check,
};

CRIO_PLUGIN_REGISTER(runc, plugin)
