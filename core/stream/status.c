/* status.c: the words and JSON of a stream's end. */
#include "core/stream/status.h"

#include "core/util/json.h"

#define JSON_SINCE 4

static char *status(const char *what, const char *message, const char *reason, int code, int32_t exit_code)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *details, *causes, *cause;
	char text[16];
	if (!o || !json_need_obj(o, "metadata") || json_set_str(o, "status", what) < 0 || (message && json_set_str(o, "message", message) < 0) ||
	    (reason && json_set_str(o, "reason", reason) < 0))
		return NULL;
	if (exit_code) {
		(void)snprintf(text, sizeof(text), "%d", (int)exit_code);
		if (!(details = json_need_obj(o, "details")) || !(causes = json_need_arr(details, "causes")) ||
		    json_push(causes, cause = json_object_new_object()) < 0 || json_set_str(cause, "reason", "ExitCode") < 0 ||
		    json_set_str(cause, "message", text) < 0)
			return NULL;
	}
	if (code && json_set_int(o, "code", code) < 0)
		return NULL;
	return json_text(o);
}

char *status_of_success(int version)
{
	return version < JSON_SINCE ? strdup("") : status("Success", NULL, NULL, 0, 0);
}

char *status_of_exit(int version, int32_t code, const char *why)
{
	cleanup_buf struct buf b = BUF_INIT;
	if (!code)
		return status_of_success(version);
	buf_addf(&b, "command terminated with non-zero exit code: exit status %d", (int)code);
	if (str_set(why))
		buf_addf(&b, ": %s", why);
	if (buf_bad(&b) || version < JSON_SINCE)
		return buf_take(&b);
	return status("Failure", b.p, "NonZeroExitCode", 0, code);
}

char *status_of_failure(int version, const char *what, const char *why)
{
	cleanup_buf struct buf b = BUF_INIT;
	buf_addf(&b, "Internal error occurred: %s: %s", what, why);
	if (buf_bad(&b) || version < JSON_SINCE)
		return buf_take(&b);
	return status("Failure", b.p, "InternalError", 500, 0);
}

bool size_parse_json(const char *p, size_t n, uint16_t *ret_width, uint16_t *ret_height)
{
	cleanup_json struct json_object *o = NULL;
	if (json_parse(p, n, &o, NULL) < 0 || !json_object_is_type(o, json_type_object))
		return false;
	int64_t w = json_int(o, "Width", json_int(o, "width", 0)), h = json_int(o, "Height", json_int(o, "height", 0));
	if (w < 0 || w > UINT16_MAX || h < 0 || h > UINT16_MAX || (!w && !h))
		return false;
	*ret_width = (uint16_t)w;
	*ret_height = (uint16_t)h;
	return true;
}
