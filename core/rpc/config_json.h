/* config_json.h: the verbose part of Status. */
#ifndef RPC_CONFIG_JSON_H
#define RPC_CONFIG_JSON_H

#include "core/conf/conf.h"

/* {"sandboxImage":..,"crio":{..}}: the caller's. */
int config_json(const struct conf *c, char **ret, crio_err *err);

#endif
