/* cri.h: the generated structs of the CRI. CRI(PodSandbox) is the type of message PodSandbox. */
#ifndef RPC_CRI_H
#define RPC_CRI_H

#undef linux /* predefined by gnu11; a field of several messages */
#include "core/rpc/cri.pb-c.h"

#define CRI(name) Runtime__V1__##name

#endif
