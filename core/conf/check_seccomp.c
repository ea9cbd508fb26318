/* check_seccomp.c: profiles that the configuration names are there and can be read as JSON, when the daemon starts. What is in them
 * is core/lifecycle/seccomp.c's to check, as the files may change while the daemon runs. */
#include <errno.h>
#include <fcntl.h>

#include "core/conf/conf_int.h"
#include "core/util/fs.h"
#include "core/util/json.h"

#define PROFILE_MAX (4u << 20) /* as core/lifecycle/seccomp.h */

int conf_check_seccomp(const char *path, crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_err crio_err why = ERR_INIT;
	int r;

	if (*path != '/')
		return err_set(err, CRIO_E_INVALID, "seccomp_profile: \"%.200s\" is not an absolute path", path);
	r = json_read_file(AT_FDCWD, path, PROFILE_MAX, &o, &why);
	if (r == CRIO_E_NOT_FOUND) /* in the words that CRI-O's users search for */
		return err_set(err, r, "open seccomp profile: open %s: no such file or directory", path);
	if (r < 0)
		return err_set(err, r, "decoding seccomp profile failed: %s", err_text(&why));
	if (!json_object_is_type(o, json_type_object))
		return err_set(err, CRIO_E_INVALID, "decoding seccomp profile failed: %s is not a JSON object", path);
	return 0;
}
