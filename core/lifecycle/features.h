/* features.h: what a runtime says it can do. */
#ifndef LIFECYCLE_FEATURES_H
#define LIFECYCLE_FEATURES_H

#include <stdbool.h>

#include "core/exec/call.h"

struct plugin_inst;

struct runtime_features {
	bool recursive_read_only, user_namespaces;
};
/* Of a runtime plugin with this program, from memory. False: nobody has asked yet. Thread-safe, as the next. */
bool runtime_features_known(const char *plugin, const char *program, struct runtime_features *ret);
/* Asked once for each plugin and program, then from memory; a runtime that cannot be asked can do nothing. */
void runtime_features(struct plugin_inst *in, const char *program, crio_call *call, struct runtime_features *ret);

#endif
