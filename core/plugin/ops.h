/*
 * ops.h: typed calls into plugin instances, one wrapper for each line of ops.def:
 *
 *	struct crio_runtime_create_out out = { .size = sizeof(out) };
 *	int r = plugin_runtime_create(instance, call, &args, &out, err);
 *
 * A wrapper blocks until the operation ends or the call does. It enforces the plugin's thread model and measures. An
 * operation that the plugin does not have is CRIO_E_UNSUPPORTED, naming both. When the plugin overruns the call's deadline
 * the wrapper returns CRIO_E_DEADLINE and leaves the plugin's thread to itself (args were copied); an object with such a
 * thread answers CRIO_E_UNAVAILABLE for main operations until the thread returns; an instance with 8 does so for all
 * objects. Results live as long as `call`; file descriptors in them are the caller's to close.
 *
 * Lock classes: MAIN and CONTROL as the SDK's headers say; FREE is not limited by the thread model unless the plugin is
 * SERIAL (exec streams of one object run side by side).
 */
#ifndef PLUGIN_OPS_H
#define PLUGIN_OPS_H

#include <crio/hook.h>
#include <crio/network.h>
#include <crio/runtime.h>
#include <crio/storage.h>

#include "core/exec/call.h"

struct plugin_inst;

#define OP(kind, op, class, args_t, out_t, id_field)                                                              \
	int plugin_##kind##_##op(struct plugin_inst *in, crio_call *call, const struct crio_##args_t *args,       \
				 struct crio_##out_t *out, crio_err *err);
#include "core/plugin/ops.def"
#undef OP

#endif
