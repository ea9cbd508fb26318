/* version.c: `crio version`, with the fields that CRI-O prints. */
#include <sys/utsname.h>

#include "core/cli/cli.h"
#include "core/util/json.h"

#ifndef CRIO_GIT_COMMIT
#define CRIO_GIT_COMMIT "unknown"
#endif
#define STRING_(x) #x
#define STRING(x) STRING_(x)

static const char *const dependencies[] = { "grpc", "protobuf-c", "json-c", "openssl", "libcurl", "libarchive", "zlib", "isa-l",
					    "zstd", "libconfuse", "toml++", "libseccomp", "libcap", "libmicrohttpd", "libltdl" };

struct field {
	const char *name, *json;
	const char *value;
};

static void platform(char ret[160])
{
	struct utsname u;
	const char *arch = uname(&u) == 0 ? u.machine : "unknown";

	if (!strcmp(arch, "x86_64"))
		arch = "amd64";
	else if (!strcmp(arch, "aarch64"))
		arch = "arm64";
	(void)snprintf(ret, 160, "linux/%s", arch);
}

static int print_json(struct cli *cli, const struct field *f, size_t n, bool verbose)
{
	cleanup_json struct json_object *o = json_object_new_object();
	cleanup_free char *text = NULL;
	struct json_object *list = json_object_new_array();
	int r = 0;

	for (size_t i = 0; i < n; i++)
		r |= json_set_str(o, f[i].json, f[i].value);
	for (size_t i = 0; verbose && i < ARRAY_SIZE(dependencies); i++)
		r |= json_push_str(list, dependencies[i]);
	r |= json_set(o, "buildTags", json_object_new_array());
	r |= json_set_bool(o, "seccompEnabled", true);
	r |= json_set_bool(o, "appArmorEnabled", true);
	if (verbose)
		r |= json_set(o, "dependencies", list);
	else
		(void)json_object_put(list);
	text = r ? NULL : json_text(o);
	if (!text)
		return cli_fail(cli, "no memory");
	(void)fprintf(cli->out, "%s\n", text);
	return 0;
}

static void print_field(struct cli *cli, bool indent, const char *name, const char *value)
{
	(void)fprintf(cli->out, "%s%s:%*s%s\n", indent ? "   " : "", name, *value ? (int)(17 - strlen(name)) : 0, "", value);
}

/* argc 0: `crio --version`. */
int cli_version(struct cli *cli, int argc, char **argv)
{
	char where[160];
	bool json = false, verbose = false;
	const struct field fields[] = {
		{ "Version", "version", PACKAGE_VERSION },
		{ "GitCommit", "gitCommit", CRIO_GIT_COMMIT },
		{ "GitCommitDate", "gitCommitDate", "unknown" },
		{ "GitTreeState", "gitTreeState", "unknown" },
		{ "BuildDate", "buildDate", "unknown" },
		/* Not a Go program; what reads this field wants it to be there. */
		{ "GoVersion", "goVersion", "none" },
		{ "Compiler", "compiler",
#ifdef __clang__
		  "clang " __clang_version__
#else
		  "gcc " STRING(__GNUC__) "." STRING(__GNUC_MINOR__)
#endif
		},
		{ "Platform", "platform", where },
		{ "Linkmode", "linkmode", "dynamic" },
		{ "LDFlags", "ldFlags", "unknown" },
	};

	platform(where);
	for (int i = 1; i < argc; i++) {
		if (cli_is_flag(argv[i], 'j', "json"))
			json = true;
		else if (cli_is_flag(argv[i], 'v', "verbose"))
			verbose = true;
		else
			return cli_fail(cli, "version: flag provided but not defined: %.100s", argv[i]);
	}
	if (json)
		return print_json(cli, fields, ARRAY_SIZE(fields), verbose);
	if (!argc)
		(void)fprintf(cli->out, "crio version %s\n", PACKAGE_VERSION);
	for (size_t i = argc ? 0 : 1; i < ARRAY_SIZE(fields); i++)
		print_field(cli, argc == 0, fields[i].name, fields[i].value);
	print_field(cli, argc == 0, "BuildTags", "");
	print_field(cli, argc == 0, "SeccompEnabled", "true");
	print_field(cli, argc == 0, "AppArmorEnabled", "true");
	if (verbose)
		(void)fputs("Dependencies:\n", cli->out);
	for (size_t i = 0; verbose && i < ARRAY_SIZE(dependencies); i++)
		(void)fprintf(cli->out, "  %s\n", dependencies[i]);
	return 0;
}
