/* pbjson.h: protobuf-c messages from and to JSON, by their descriptors. Test code: memory errors end the program. */
#ifndef TESTS_CLIENT_PBJSON_H
#define TESTS_CLIENT_PBJSON_H

#include <json-c/json.h>
#include <protobuf-c/protobuf-c.h>

/* Names may be snake_case or lowerCamelCase, enums names or numbers, bytes base64, 64-bit numbers also strings, maps
 * objects. NULL with the fault in why (which names the field). Freed by protobuf_c_message_free_unpacked(m, NULL). */
ProtobufCMessage *pbjson_parse(const ProtobufCMessageDescriptor *d, struct json_object *o, char why[256]);
/* snake_case; all fields, absent messages as null, 64-bit numbers as strings, bytes as base64. */
struct json_object *pbjson_dump(const ProtobufCMessage *m);
/* The field of that name (either spelling); NULL: there is none. */
const ProtobufCFieldDescriptor *pbjson_field(const ProtobufCMessageDescriptor *d, const char *name);

#endif
