/* test_conf.c: loading: precedence, replacement, what is refused and how it is said, the table against itself. */
#include "tests/unit/conf/tmp.h"

#include "core/conf/annotations.h"
#include "core/conf/conf_int.h"

/* Values and types only, nothing of this machine. */
static const struct conf_args plain = { .config = "", .config_dir = "", .storage_conf = "", .flags = CONF_NO_CHECKS | CONF_NO_ENV };

static struct conf *load_with(struct conf_args args)
{
	cleanup_err crio_err err = ERR_INIT;
	struct conf *c = NULL;

	if (conf_load(&args, &c, &err) < 0)
		fail_msg("%s", err_text(&err));
	return c;
}

static struct conf *load_text(const char *text)
{
	struct conf_args args = plain;

	args.config = tmp_text("crio.conf", text);
	return load_with(args);
}

/* Loading the text fails, and the message has all of these. */
static void refused(const char *text, const char *a, const char *b)
{
	cleanup_err crio_err err = ERR_INIT;
	struct conf_args args = plain;
	struct conf *c = NULL;

	args.config = tmp_text("crio.conf", text);
	assert_true(conf_load(&args, &c, &err) < 0);
	assert_null(c);
	if (!strstr(err_text(&err), a) || !strstr(err_text(&err), b))
		fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err_text(&err), a, b);
}

static void defaults(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	struct conf *c = NULL;

	(void)state;
	assert_int_equal(conf_defaults(&plain, &c, &err), 0);
	assert_string_equal(c->crio.root, "/var/lib/containers/storage");
	assert_string_equal(c->crio.storage_driver, "overlay");
	assert_string_equal(c->api.listen, "/var/run/crio/crio.sock");
	assert_int_equal(c->api.grpc_max_send_msg_size, 83886080);
	assert_true(c->api.stream_idle_timeout_ns == INT64_C(14400000000000));
	assert_string_equal(c->runtime.default_runtime, "crun");
	assert_int_equal(c->runtime.default_capabilities.n, 9);
	assert_int_equal(c->runtime.log_level, LOGL_INFO);
	assert_int_equal(c->runtime.pids_limit, -1);
	assert_string_equal(c->image.pause_image, "registry.k8s.io/pause:3.10.1");
	assert_int_equal(c->metrics.metrics_collectors.n, 18);
	assert_true(c->nri.nri_plugin_registration_timeout == INT64_C(5000000000));
	assert_int_equal(c->runtime.n_runtimes, 1);
	assert_string_equal(conf_runtime(c, "")->name, "crun");
	assert_ptr_equal(conf_runtime(c, ""), conf_runtime(c, "crun"));
	assert_int_equal(conf_runtime(c, "")->container_min_memory_bytes, 500 << 10);
	assert_int_equal(conf_runtime(c, "")->container_create_timeout, 240);
	assert_null(conf_runtime(c, "kata"));
	conf_unref(c);
}

/* Every key: a flag and a variable that lead back to it, no two alike, a default that is valid. */
static void table(void **state)
{
	(void)state;
	assert_true(conf_keys_n > 130);
	for (size_t i = 0; i < conf_keys_n; i++) {
		const struct conf_key *k = &conf_keys[i];
		cleanup_free char *path = path_fmt("%s.%s", k->table, k->name);
		char a[96], b[96];

		assert_true(*k->help != '\0');
		if (*k->table)
			assert_ptr_equal(key_by_path(path), k);
		if (key_flag(k, a))
			assert_ptr_equal(key_by_flag(a), k);
		assert_true(k->type != KEY_ENUM || (k->names && k->dflt));
		for (size_t j = 0; j < i; j++) {
			assert_true(conf_keys[j].offset != k->offset);
			if (key_env(k, a) && key_env(&conf_keys[j], b))
				assert_string_not_equal(a, b);
		}
	}
	assert_ptr_equal(key_by_flag("tz"), key_by_flag("timezone"));
	assert_non_null(key_by_flag("storage-opt"));
	assert_null(key_by_flag("plugin-dir"));
}

/* A value that is not the default, for any key. */
static void other_value(const struct conf_key *k, struct conf *c)
{
	cleanup_err crio_err err = ERR_INIT;
	char text[256];
	int64_t v;

	switch (k->type) {
	case KEY_BOOL:
		(void)snprintf(text, sizeof text, "%s", *(bool *)((char *)c + k->offset) ? "false" : "true");
		break;
	case KEY_INT:
		v = *(int64_t *)((char *)c + k->offset);
		(void)snprintf(text, sizeof text, "%lld", (long long)(v < 0 ? 10000 : v + 1));
		break;
	case KEY_DUR:
		(void)snprintf(text, sizeof text, "1h2m3.5s");
		break;
	case KEY_ENUM:
		v = *(int *)((char *)c + k->offset);
		(void)snprintf(text, sizeof text, "%s", k->names[v ? 0 : 1]);
		break;
	default:
		(void)snprintf(text, sizeof text, "%s", k->names ? k->names[0] : k->flags & KEY_ABS ? "/other" : "ot\"h\\er");
		break;
	}
	assert_int_equal(key_set_text(k, c, text, &err), 0);
}

/* What the template writes is read back as the same, for every key and for values that need quoting. */
static void round_trip(void **state)
{
	struct conf *base = NULL, *changed = NULL;

	(void)state;
	assert_int_equal(conf_defaults(&plain, &base, NULL), 0);
	for (size_t i = 0; i < conf_keys_n; i++) {
		const struct conf_key *k = &conf_keys[i];
		cleanup_buf struct buf b = BUF_INIT;
		cleanup_free char *text = NULL;
		struct conf copy = { 0 };
		struct toml_node *root = NULL;
		int line;

		if (k->flags & KEY_FLAG_ONLY)
			continue;
		assert_int_equal(key_copy(k, &copy, base, NULL), 0);
		other_value(k, &copy);
		assert_false(key_equal(k, &copy, base));
		key_write(k, &copy, "", &b);
		text = buf_take(&b);
		assert_int_equal(toml_parse(text, strlen(text), "t", &root, NULL), 0);
		assert_int_equal(conf_new(&changed, NULL), 0);
		assert_int_equal(key_set_node(k, changed, toml_get(root, k->name), &line, NULL), 0);
		if (!key_equal(k, &copy, changed))
			fail_msg("%s does not survive: %s", k->name, text);
		toml_free(root);
		key_release(k, &copy);
		conf_unref(changed);
	}
	conf_unref(base);
}

static void whole_template(void **state)
{
	cleanup_free char *all = NULL, *commented = NULL, *again = NULL, *page = NULL, *toml = NULL;
	struct conf *d = NULL, *c;

	(void)state;
	assert_int_equal(conf_defaults(&plain, &d, NULL), 0);
	all = conf_template(d, NULL);
	commented = conf_template(d, d);
	page = conf_manual();
	assert_true(all && commented && page);
	for (const char *l = commented; l && *l; l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL)
		if (!strchr("#[\n", *l))
			fail_msg("a default is not commented: %.60s", l);
	c = load_text(all);
	again = conf_template(c, d);
	assert_string_equal(commented, again);
	conf_unref(c);
	c = load_text("[crio.api]\nlisten = \"/x.sock\"\n[crio.runtime.runtimes.\"a.b\"]\ndefault_annotations = {\"k/y\" = \"v\\\"w\"}\n");
	toml = conf_toml(c);
	conf_unref(c);
	c = load_text(toml);
	assert_string_equal(c->api.listen, "/x.sock");
	assert_string_equal(kvs_get(&conf_runtime(c, "a.b")->default_annotations, "k/y"), "v\"w");
	conf_unref(c);
	for (size_t i = 0; i < conf_keys_n; i++)
		if (!(conf_keys[i].flags & KEY_FLAG_ONLY) && !strstr(page, conf_keys[i].name))
			fail_msg("crio.conf(5) lacks %s", conf_keys[i].name);
	conf_unref(d);
}

static void precedence(void **state)
{
	const struct conf_setting flags[] = { { "log-level", "trace" }, { "pause-command", "/from/flag" } };
	struct conf_args args = plain;
	struct conf *c;

	(void)state;
	args.flags = CONF_NO_CHECKS;
	args.storage_conf = tmp_text("storage.conf", "[storage]\ndriver = \"btrfs\"\ngraphroot = \"/g\"\nrunroot = \"/r\"\n"
						     "[storage.options.btrfs]\nmin_space = \"1G\"\n");
	args.config = tmp_text("crio.conf", "[crio]\nroot = \"/from/conf\"\n[crio.runtime]\nlog_level = \"error\"\n"
					    "default_env = [\"A=1\", \"B=2\"]\n[crio.image]\npause_command = \"/conf\"\n");
	(void)tmp_text("d/10-a", "[crio.runtime]\nlog_level = \"warn\"\npids_limit = 1\ndefault_env = [\"C=3\"]\n");
	(void)tmp_text("d/05-dir/z.anything", "[crio.runtime]\npids_limit = 5\nno_pivot = true\n");
	(void)tmp_text("d/20-b.conf", "[CRIO.Runtime]\nPids_Limit = 2\nunknown_key = {a = 1}\n[other]\nx = 1\n");
	args.config_dir = tmp_path("d");
	assert_int_equal(setenv("CONTAINER_LOG_LEVEL", "debug", 1), 0);
	assert_int_equal(setenv("CONTAINER_PAUSE_COMMAND", "/from/env", 1), 0);
	assert_int_equal(setenv("CONTAINER_READ_ONLY", "true", 1), 0);
	c = load_with(args);
	assert_string_equal(c->crio.storage_driver, "btrfs"); /* storage.conf */
	assert_string_equal(c->crio.runroot, "/r");
	assert_string_equal(c->crio.root, "/from/conf");      /* crio.conf over storage.conf */
	assert_int_equal(c->runtime.pids_limit, 2);           /* the last drop-in, in another case */
	assert_true(c->runtime.no_pivot);                     /* a directory of drop-ins */
	assert_int_equal(c->runtime.default_env.n, 1);        /* lists replace */
	assert_string_equal(c->runtime.default_env.v[0], "C=3");
	assert_int_equal(c->runtime.log_level, LOGL_DEBUG);   /* environment over files */
	assert_true(c->runtime.read_only);
	conf_unref(c);
	args.settings = flags;
	args.n_settings = ARRAY_SIZE(flags);
	c = load_with(args);
	assert_int_equal(c->runtime.log_level, LOGL_TRACE);   /* flags over all */
	assert_string_equal(c->image.pause_command, "/from/flag");
	conf_unref(c);
	(void)unsetenv("CONTAINER_LOG_LEVEL");
	(void)unsetenv("CONTAINER_PAUSE_COMMAND");
	(void)unsetenv("CONTAINER_READ_ONLY");
}

static void storage_options(void **state)
{
	const struct conf_setting flag = { "storage-opt", "overlay.mountopt=nodev,metacopy=on,overlay.size=2G" };
	cleanup_kvs struct kvs opts = KVS_INIT;
	struct conf_args args = plain;
	struct conf *c;

	(void)state;
	args.storage_conf = tmp_text("storage.conf", "[storage]\ndriver = \"overlay\"\n[storage.options]\nadditionalimagestores = [\"/ro\"]\n"
						     "[storage.options.overlay]\nmountopt = \"nodev\"\nskip_mount_home = \"true\"\n");
	args.config = tmp_text("crio.conf", "[crio]\nstorage_option = [\"overlay.size=1G\", \"overlay.mountopt=nodev\"]\n");
	(void)tmp_text("d/1", "[crio]\nstorage_option = [\"overlay.inodes=5\", \"overlay.size=1G\", \"overlay.imagestore=/i\"]\n");
	args.config_dir = tmp_path("d");
	c = load_with(args);
	assert_int_equal(c->crio.storage_option.n, 5);
	assert_string_equal(c->crio.storage_option.v[0], "overlay.skip_mount_home=true");
	assert_string_equal(c->crio.storage_option.v[1], "overlay.mountopt=nodev");
	assert_string_equal(c->crio.storage_option.v[3], "overlay.size=1G");
	assert_string_equal(c->crio.additional_image_stores.v[0], "/ro");
	assert_int_equal(conf_storage_options(c, "overlay", &opts), 0);
	assert_string_equal(kvs_get(&opts, "inodes"), "5");
	assert_null(kvs_get(&opts, "imagestore"));
	assert_int_equal(conf_storage_options(c, "btrfs", &opts), 0);
	conf_unref(c);
	args.settings = &flag;
	args.n_settings = 1;
	c = load_with(args);
	assert_int_equal(c->crio.storage_option.n, 2);
	assert_string_equal(c->crio.storage_option.v[0], "overlay.mountopt=nodev,metacopy=on");
	conf_unref(c);
}

static void list_flags(void **state)
{
	const struct conf_setting one[] = { { "default-env", "A=1, B=2" }, { "runtimes", "x:/bin/true:/run/x:vm:true::1m" } };
	const struct conf_setting many[] = { { "default-env", "A=1,2" }, { "log-level", "info" }, { "default-env", "B=2" } };
	const struct conf_setting bad[] = { { "runtimes", "x:/bin/true" } };
	cleanup_err crio_err err = ERR_INIT;
	struct conf_args args = plain;
	struct conf *c;

	(void)state;
	args.settings = one;
	args.n_settings = 2;
	c = load_with(args);
	assert_int_equal(c->runtime.default_env.n, 2);
	assert_string_equal(c->runtime.default_env.v[1], "B=2");
	assert_int_equal(conf_runtime(c, "x")->runtime_type, CONF_RUNTIME_VM);
	assert_true(conf_runtime(c, "x")->privileged_without_host_devices);
	assert_int_equal(conf_runtime(c, "x")->container_min_memory_bytes, 1 << 20);
	conf_unref(c);
	args.settings = many;
	args.n_settings = 3;
	c = load_with(args);
	assert_int_equal(c->runtime.default_env.n, 2);
	assert_string_equal(c->runtime.default_env.v[0], "A=1,2");
	conf_unref(c);
	args.settings = bad;
	args.n_settings = 1;
	c = NULL;
	assert_int_equal(conf_load(&args, &c, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "flag --runtimes"));
}

static void entries_replace(void **state)
{
	struct conf_args args = plain;
	const struct conf_runtime *h;
	struct conf *c;

	(void)state;
	args.config = tmp_text("crio.conf", "[crio.runtime]\ndefault_runtime = \"runc\"\n[crio.runtime.runtimes.runc]\n"
					    "runtime_path = \"/a\"\nruntime_root = \"/b\"\nstorage_plugin = \"btrfs\"\n"
					    "network_options = { mtu = 1400, dirs = [\"a\", \"b\"], on = true }\n"
					    "[crio.runtime.workloads.w]\nactivation_annotation = \"x/y\"\nruntime_plugin = \"kata\"\n"
					    "resources = { cpushares = 10, cpuset = \"0-1\" }\n");
	c = load_with(args);
	h = conf_runtime(c, "");
	assert_string_equal(h->name, "runc");
	assert_string_equal(h->storage_plugin, "btrfs");
	assert_string_equal(kvs_get(&h->network_options, "mtu"), "1400");
	assert_string_equal(kvs_get(&h->network_options, "dirs"), "a,b");
	assert_string_equal(kvs_get(&h->network_options, "on"), "true");
	assert_int_equal(conf_workload(c, "w")->resources.cpushares, 10);
	assert_string_equal(conf_workload(c, "w")->resources.cpuset, "0-1");
	conf_unref(c);
	(void)tmp_text("d/10-selinux.conf", "[crio.runtime.runtimes.runc]\nallowed_annotations = [\"io.containers.trace-syscall\"]\n"
					    "[crio.runtime.workloads.w]\nactivation_annotation = \"z\"\n");
	args.config_dir = tmp_path("d");
	c = load_with(args);
	h = conf_runtime(c, "runc");
	assert_string_equal(h->runtime_path, "");
	assert_string_equal(h->runtime_root, "");
	assert_string_equal(h->storage_plugin, "");
	assert_int_equal(h->allowed_annotations.n, 1);
	assert_int_equal(conf_workload(c, "w")->resources.cpushares, 0);
	assert_non_null(conf_runtime(c, "crun")); /* the built-in one stays */
	conf_unref(c);
}

static void workload_selection(void **state)
{
	cleanup_kvs struct kvs a = KVS_INIT;
	const struct conf_workload *w;
	struct conf *c;

	(void)state;
	c = load_text("[crio.runtime.runtimes.kata]\nruntime_path = \"/k\"\n[crio.runtime.runtimes.open]\nallow_workload_runtime = true\n"
		      "[crio.runtime.workloads.b]\nactivation_annotation = \"on\"\n"
		      "[crio.runtime.workloads.a]\nactivation_annotation = \"on\"\nruntime_plugin = \"runc\"\n");
	assert_null(conf_workload_for(c, &a));
	assert_int_equal(kvs_set(&a, "on", ""), 0);
	w = conf_workload_for(c, &a);
	assert_string_equal(w->name, "a");
	assert_true(conf_workload_may_set_runtime(c, "", w));
	assert_true(conf_workload_may_set_runtime(c, "open", w));
	assert_false(conf_workload_may_set_runtime(c, "kata", w)); /* never behind the back of who named it */
	assert_false(conf_workload_may_set_runtime(c, "crun", w));
	assert_false(conf_workload_may_set_runtime(c, "", conf_workload(c, "b")));
	assert_false(conf_workload_may_set_runtime(c, "absent", w));
	conf_unref(c);
}

static void wrong_types(void **state)
{
	(void)state;
	refused("[crio.runtime]\n\nenable_pod_events = \"on\"\n", "crio.conf:3: crio.runtime.enable_pod_events", "expected a boolean, found a string");
	refused("[crio.runtime]\nshared_cpuset = true\n", ":2: crio.runtime.shared_cpuset", "expected a string");
	refused("[crio.runtime]\npids_limit = 1.5\n", ":2: crio.runtime.pids_limit", "expected a integer");
	refused("[crio.runtime]\nhooks_dir = \"/x\"\n", "crio.runtime.hooks_dir", "list of strings, found a string");
	refused("[crio.runtime]\nhooks_dir = [\n\"/x\",\n2]\n", ":4: crio.runtime.hooks_dir", "element 2 is an integer");
	refused("[crio]\nruntime = 3\n", ":2: crio.runtime", "expected a table");
	refused("crio = 3\n", ":1: crio", "expected a table");
	refused("[crio.image]\npull_progress_timeout = \"soon\"\n", ":2: crio.image.pull_progress_timeout", "not a duration");
	refused("[crio.runtime.runtimes]\nrunc = 1\n", "crio.runtime.runtimes.runc", "expected a table");
	refused("[crio.runtime.runtimes.runc]\nruntime_type = \"docker\"\n", ":2: crio.runtime.runtimes.runc.runtime_type", "oci, vm, pod");
	refused("[crio.runtime.runtimes.runc]\ndefault_annotations = {a = 1}\n", "default_annotations", "a: expected a string");
	refused("[crio.runtime.workloads.w]\nactivation_annotation = \"a\"\nresources = {cpushares = \"x\"}\n",
		":3: crio.runtime.workloads.w.resources.cpushares", "expected a integer");
	refused("[crio.runtime.workloads.w]\nresources = { \"cpushares\": 1 }\n", "crio.conf:2:", "unable to decode configuration");
}

static void wrong_values(void **state)
{
	(void)state;
	refused("[crio.runtime]\nlog_level = \"wrong-level\"\n", "not a valid logrus", "wrong-level");
	refused("[crio.runtime]\nlog_size_max = 5\n", ":2: crio.runtime.log_size_max", "log size max should be negative or >= 8192");
	refused("[crio.runtime]\ndefault_runtime = \"no\"\n", ":2: crio.runtime.default_runtime", "no runtime entry table");
	refused("[crio.runtime]\ndefault_sysctls = [\"net.ipv4.ping_group_range = 0   2147483647\"]\n", "crio.runtime.default_sysctls",
		"extra spaces found");
	refused("[crio.runtime]\ndefault_capabilities = [\"FLY\"]\n", "crio.runtime.default_capabilities", "FLY");
	refused("[crio.runtime]\ndefault_ulimits = [\"nofile=5:4\"]\n", "default_ulimits", "5 > 4");
	refused("[crio.runtime]\nadditional_devices = [\"/etc/passwd\"]\n", "additional_devices", "is not a valid device");
	refused("[crio.runtime]\ntimezone = \"../../etc/passwd\"\n", "crio.runtime.timezone", "invalid timezone");
	refused("[crio.runtime]\nlog_filter = \"(\"\n", "crio.runtime.log_filter", "regular expression");
	refused("[crio.runtime]\ninfra_ctr_cpuset = \"3-1\"\n", "crio.runtime.infra_ctr_cpuset", "CPU list");
	refused("[crio.runtime]\nadditional_artifact_stores = [\"rel\"]\n", ":2: crio.runtime.additional_artifact_stores", "absolute");
	refused("[crio]\nroot = \"rel\"\n", ":2: crio.root", "absolute");
	refused("[crio.api]\nlisten = \"relative.sock\"\n", ":2: crio.api.listen", "absolute");
	refused("[crio.api]\nstream_enable_tls = true\n", ":2: crio.api.stream_enable_tls", "cert");
	refused("[crio.api]\nstream_port = \"70000\"\n", ":2: crio.api.stream_port", "port");
	refused("[crio.api]\ntls_min_version = \"VersionTLS10\"\n", ":2: crio.api.tls_min_version", "VersionTLS12, VersionTLS13");
	refused("[crio.metrics]\nmetrics_port = 65536\n", ":2: crio.metrics.metrics_port", "65535");
	refused("[crio.network]\ncni_status_grace_period = \"-1s\"\n", ":2: crio.network.cni_status_grace_period", "less than 0");
	refused("[crio.stats]\nincluded_pod_metrics = [\"all\", \"cpu\"]\n", "crio.stats.included_pod_metrics", "all");
	refused("[crio.stats]\nincluded_pod_metrics = [\"gpu\"]\n", "crio.stats.included_pod_metrics", "pressure");
	refused("[crio.runtime.workloads.w]\n", "crio.runtime.workloads.w", "activation_annotation");
	refused("[crio.runtime.workloads.w]\nactivation_annotation=\"a\"\nallowed_annotations = [\"x\"]\n", "workloads.w", "allowed_annotations");
	refused("[crio.runtime.workloads.w]\nactivation_annotation=\"a\"\nresources={cpuperiod=5}\n", "workloads.w", "cpuperiod");
	refused("[crio.runtime.runtimes.\"../x\"]\n", ":1: crio.runtime.runtimes", "not a name");
}

static void forgiven(void **state)
{
	struct conf *c;

	(void)state;
	c = load_text("[crio]\nlog_level = \"debug\"\nroot = \"\"\n[crio.runtime]\nno_new_privileges = true\nctr_stop_timeout = 1\n"
		      "default_capabilities = [\"cap_chown\", \"Kill\"]\napparmor_profile = \"\"\n"
		      "[crio.api]\nlisten = \"unix:///x.sock\"\ngrpc_max_send_msg_size = 0\n"
		      "[crio.image]\nshort_name_mode = \"\"\npull_progress_timeout = 5\n"
		      "[crio.runtime.workloads.management]\nactivation_annotation = \"a\"\napparmor_profile = \"x\"\nhost_network = true\n");
	assert_int_equal(c->runtime.log_level, LOGL_INFO); /* another table's key */
	assert_string_equal(c->crio.root, "/var/lib/containers/storage");
	assert_int_equal(c->runtime.ctr_stop_timeout, 30);
	assert_string_equal(c->runtime.default_capabilities.v[0], "CHOWN");
	assert_string_equal(c->runtime.default_capabilities.v[1], "KILL");
	assert_string_equal(c->runtime.apparmor_profile, "crio-default");
	assert_string_equal(c->api.listen, "/x.sock");
	assert_int_equal(c->api.grpc_max_send_msg_size, 83886080);
	assert_int_equal(c->image.short_name_mode, CONF_SHORT_ENFORCING);
	assert_int_equal(c->image.pull_progress_timeout, 5);
	conf_unref(c);
}

static void missing_files(void **state)
{
	struct conf_args args = plain;
	cleanup_err crio_err err = ERR_INIT;
	struct conf *c = NULL;

	(void)state;
	args.config_dir = tmp_path("absent");
	c = load_with(args);
	conf_unref(c);
	args.config = "/dev/null";
	c = load_with(args);
	conf_unref(c);
	args.config = tmp_path("absent.conf");
	c = NULL;
	assert_int_equal(conf_load(&args, &c, &err), CRIO_E_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "absent.conf"));
	args.config = tmp_dir; /* a directory */
	assert_true(conf_load(&args, &c, NULL) < 0);
	args.config = "";
	args.storage_conf = tmp_text("storage.conf", "[storage]\ngraphroot = 5\n");
	err_clear(&err);
	assert_true(conf_load(&args, &c, &err) < 0);
	assert_non_null(strstr(err_text(&err), "storage.conf:2: storage.graphroot"));
	assert_null(c);
}

/* With the checks of this machine: bad handlers go, a bad default stops. */
static void handlers(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	struct conf_args args = { .config_dir = "", .storage_conf = "", .flags = CONF_NO_ENV };
	static const char shim[] = "containerd-shim-kata-v2";
	const struct conf_runtime *h;
	char text[2048];
	struct conf *c;

	(void)state;
	assert_int_equal(chmod(tmp_text("runc", "#!/bin/sh\n"), 0755), 0);
	assert_int_equal(chmod(tmp_text("conmon", "#!/bin/sh\n"), 0755), 0);
	assert_int_equal(chmod(tmp_text(shim, "#!/bin/sh\n"), 0755), 0);
	(void)snprintf(text, sizeof text,
		       "[crio.runtime]\ndefault_runtime = \"runc\"\nconmon = \"%s/conmon\"\ncgroup_manager = \"cgroupfs\"\n"
		       "[crio.runtime.runtimes.runc]\nruntime_path = \"%s/runc\"\nmonitor_cgroup = \"system.slice\"\n"
		       "[crio.runtime.runtimes.same]\ninherit_default_runtime = true\n"
		       "[crio.runtime.runtimes.gone]\nruntime_path = \"/not/there\"\n"
		       "[crio.runtime.runtimes.kata]\nruntime_type = \"vm\"\nruntime_path = \"%s/%s\"\n"
		       "[crio.runtime.runtimes.kataold]\nruntime_type = \"vm\"\nruntime_path = \"%s/runc\"\n"
		       "[crio.runtime.runtimes.badann]\nruntime_path = \"%s/runc\"\nallowed_annotations = [\"nonsense\"]\n"
		       "[crio.runtime.runtimes.sync]\nruntime_type = \"vm\"\nno_sync_log = true\nruntime_path = \"%s/%s\"\n",
		       tmp_dir, tmp_dir, tmp_dir, shim, tmp_dir, tmp_dir, tmp_dir, shim);
	args.config = tmp_text("crio.conf", text);
	c = load_with(args);
	h = conf_runtime(c, "");
	assert_string_equal(h->name, "runc");
	assert_string_equal(h->runtime_root, "/run/crun"); /* whatever the runtime */
	assert_string_equal(h->monitor_path, tmp_path("conmon"));
	assert_string_equal(h->monitor_cgroup, "");
	assert_string_equal(conf_runtime(c, "same")->runtime_path, tmp_path("runc"));
	assert_non_null(conf_runtime(c, "kata"));
	assert_null(conf_runtime(c, "gone"));
	assert_null(conf_runtime(c, "kataold"));
	assert_null(conf_runtime(c, "badann"));
	assert_null(conf_runtime(c, "sync"));
	conf_unref(c);
	args.config = tmp_text("crio.conf", "[crio.runtime.runtimes.crun]\nruntime_path = \"/not/there\"\n");
	c = NULL;
	assert_true(conf_load(&args, &c, &err) < 0);
	assert_non_null(strstr(err_text(&err), "crio.conf:1: crio.runtime.runtimes.crun: runtime_path: /not/there"));
}

static void reload(void **state)
{
	struct conf_args args = plain;
	struct conf *old, *now = NULL;

	(void)state;
	args.config = tmp_text("crio.conf", "[crio.runtime]\nlog_level = \"info\"\npids_limit = 1\n[crio.api]\nstream_idle_timeout=\"1s\"\n"
					    "[crio.runtime.workloads.w]\nactivation_annotation = \"a\"\n");
	old = load_with(args);
	(void)tmp_text("crio.conf", "[crio.runtime]\nlog_level = \"debug\"\npids_limit = 2\n[crio.runtime.runtimes.kata]\nruntime_path=\"/k\"\n");
	assert_int_equal(conf_reload(old, &args, &now, NULL), 0);
	assert_int_equal(now->runtime.log_level, LOGL_DEBUG);
	assert_int_equal(now->runtime.pids_limit, 1);   /* not while running */
	assert_non_null(conf_runtime(now, "kata"));
	assert_non_null(conf_workload(now, "w"));
	assert_true(now->api.stream_idle_timeout_ns == INT64_C(1000000000));
	assert_int_equal(old->runtime.log_level, LOGL_INFO);
	assert_null(conf_runtime(old, "kata"));
	conf_unref(now);
	now = NULL;
	(void)tmp_text("crio.conf", "[crio.runtime]\nlog_level = \n");
	assert_true(conf_reload(old, &args, &now, NULL) < 0);
	assert_null(now);
	conf_unref(old);
}

/* A flag wins over the files, until somebody changes that value in them and has them read again. */
static void reload_and_flags(void **state)
{
	const struct conf_setting flags[] = { { "pause-command", "/flag" }, { "log-level", "trace" } };
	struct conf_args args = plain;
	struct conf *a, *b = NULL, *c = NULL, *d = NULL;

	(void)state;
	args.settings = flags;
	args.n_settings = ARRAY_SIZE(flags);
	args.config = tmp_text("crio.conf", "[crio.image]\npause_command = \"/file\"\n");
	a = load_with(args);
	assert_string_equal(a->image.pause_command, "/flag");
	/* Something else changed. */
	(void)tmp_text("crio.conf", "[crio.image]\npause_command = \"/file\"\npinned_images = [\"x\"]\n");
	assert_int_equal(conf_reload(a, &args, &b, NULL), 0);
	assert_string_equal(b->image.pause_command, "/flag");
	assert_int_equal(b->image.pinned_images.n, 1);
	(void)tmp_text("crio.conf", "[crio.image]\npause_command = \"/new\"\n");
	assert_int_equal(conf_reload(b, &args, &c, NULL), 0);
	assert_string_equal(c->image.pause_command, "/new");
	assert_int_equal(c->runtime.log_level, LOGL_TRACE); /* of which no file speaks */
	assert_int_equal(c->image.pinned_images.n, 0);
	/* It stays so at the next reload, whatever that finds. */
	(void)tmp_text("crio.conf", "[crio.image]\npause_command = \"/new\"\n[crio.runtime]\nlog_level = \"debug\"\n");
	assert_int_equal(conf_reload(c, &args, &d, NULL), 0);
	assert_string_equal(d->image.pause_command, "/new");
	assert_int_equal(d->runtime.log_level, LOGL_DEBUG);
	conf_unref(a);
	conf_unref(b);
	conf_unref(c);
	conf_unref(d);
}

/* Nothing here may crash, hang or use much memory. */
static void hostile_toml(void **state)
{
	static const char *const bits[] = { "[", "[[", "]", "]]", "=", "\"", "\"\"\"", "'", "'''", "{", "}", ",", ".", "#", "\n", "a", "crio",
					    "1", "0x", "-", "1e", "\\u0000", "\\", "true", "inf", "1979-05-27", "\xff", "\xc3", "\t", "\r" };
	cleanup_free char *big = malloc(TOML_MAX + 2);
	struct toml_node *root = NULL;
	unsigned seed = 12345;
	char text[600];

	(void)state;
	assert_non_null(big);
	memset(big, '[', TOML_MAX);
	assert_true(toml_parse(big, TOML_MAX, "t", &root, NULL) < 0);
	assert_int_equal(toml_parse(big, TOML_MAX + 1, "t", &root, NULL), CRIO_E_EXHAUSTED);
	memcpy(big, "a = ", 4);
	assert_true(toml_parse(big, 100000, "t", &root, NULL) < 0);
	for (size_t i = 0; i < 100000; i++)
		big[i] = i % 2 ? '.' : 'a';
	assert_int_equal(toml_parse(big, 100000, "t", &root, NULL), CRIO_E_EXHAUSTED);
	big[0] = '[';
	assert_int_equal(toml_parse(big, 100000, "t", &root, NULL), CRIO_E_EXHAUSTED);
	for (size_t i = 0; i + 4 < 100000; i += 4)
		memcpy(big + i, "a={ ", 4);
	assert_true(toml_parse(big, 100000, "t", &root, NULL) < 0);
	assert_true(toml_parse("a = 1\0b", 7, "t", &root, NULL) < 0);
	assert_true(toml_parse("a = \"x\\u0000y\"", 14, "t", &root, NULL) < 0);
	assert_true(toml_parse("a = 1\na = 2\n", 12, "t", &root, NULL) < 0);
	for (int n = 0; n < 20000; n++) {
		size_t len = 0;
		text[0] = '\0';
		while (len < 60) {
			seed = seed * 1103515245 + 12345;
			len += (size_t)snprintf(text + len, sizeof text - len, "%s", bits[(seed >> 16) % ARRAY_SIZE(bits)]);
		}
		root = NULL;
		if (toml_parse(text, len, "t", &root, NULL) >= 0)
			toml_free(root);
	}
}

static void toml_11(void **state)
{
	static const char text[] = "[crio.runtime.runtimes.x]\ndefault_annotations = {\n  \"a.b/c\" = \"1\", # why\n  d = \"2\",\n}\n";
	struct conf *c;

	(void)state;
	c = load_text(text);
	assert_string_equal(kvs_get(&conf_runtime(c, "x")->default_annotations, "a.b/c"), "1");
	assert_int_equal(conf_runtime(c, "x")->default_annotations.n, 2);
	conf_unref(c);
}

static void units(void **state)
{
	static const struct {
		const char *s;
		int64_t ns;
		const char *back;
	} ok[] = { { "0", 0, "0s" }, { "90s", 90000000000, "1m30s" }, { "1h2m3.5s", 3723500000000, "1h2m3.5s" }, { "300ms", 300000000, "300ms" },
		   { "1.5us", 1500, "1.5us" }, { "-5s", -5000000000, "-5s" }, { "24h", 86400000000000, "24h0m0s" }, { ".5s", 500000000, "500ms" } };
	static const char *const bad[] = { "", "s", "5", "1x", "1.2.3s", ".s", "-", "99999999999h", "1s ", "ms" };
	char text[DURATION_LEN];
	int64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		assert_true(duration_parse(ok[i].s, &v));
		assert_true(v == ok[i].ns);
		duration_format(v, text);
		assert_string_equal(text, ok[i].back);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (duration_parse(bad[i], &v))
			fail_msg("\"%s\" is taken", bad[i]);
	duration_format(INT64_MIN, text);
	assert_true(size_parse("500KiB", &v) && v == 512000);
	assert_true(size_parse("12 MB", &v) && v == 12 << 20);
	assert_true(size_parse("1.5g", &v) && v == 1610612736);
	assert_true(size_parse("4096", &v) && v == 4096);
	assert_false(size_parse("x", &v) || size_parse("1q", &v) || size_parse("", &v) || size_parse("1kk", &v) || size_parse("9999999p", &v));
	assert_true(cpulist_valid("") && cpulist_valid("0-3,7") && cpulist_valid("5"));
	assert_false(cpulist_valid("a") || cpulist_valid("1,") || cpulist_valid("3-1") || cpulist_valid("1-") || cpulist_valid("-1"));
}

static void annotations(void **state)
{
	(void)state;
	assert_true(conf_annotation_known("io.kubernetes.cri-o.userns-mode"));
	assert_true(conf_annotation_known("userns-mode.crio.io"));
	assert_true(conf_annotation_known("run.oci."));
	assert_false(conf_annotation_known("run.oci.handler"));
	assert_false(conf_annotation_known(""));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, tmp_make, tmp_remove)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(defaults), TEST(table), TEST(round_trip), TEST(whole_template), TEST(precedence), TEST(storage_options),
		TEST(list_flags), TEST(entries_replace), TEST(workload_selection), TEST(wrong_types), TEST(wrong_values), TEST(forgiven),
		TEST(missing_files), TEST(handlers), TEST(reload), TEST(reload_and_flags), TEST(hostile_toml), TEST(toml_11), TEST(units), TEST(annotations),
	};

	log_set_level(LOGL_FATAL);
	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
