/* cri_pb.c: compiles what protoc-c makes of cri.proto. */
#undef linux
#include "core/rpc/cri.pb-c.c"
