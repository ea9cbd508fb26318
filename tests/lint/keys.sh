#!/bin/sh
# Keeps `crio config --unimplemented` true: a key is marked T (or KEY_TODO) in core/conf/keys.def exactly when no code outside
# core/conf and core/cli names its field. The exceptions are keys that core/conf itself acts on, and field names that mean something
# else elsewhere.
cd "${srcdir:-.}" || exit 1
# Acted on by core/conf or core/cli, or accepted for CRI-O's sake only.
inside='conmon_env ctr_stop_timeout pinns_path big_files_temporary_dir insecure_registries plugin_dir inherit_default_runtime container_min_memory allow_workload_runtime
activation_annotation conmon conmon_cgroup log log_format config_dir stream_idle_timeout dir enable_criu_support'
# Named elsewhere, but not the key.
elsewhere='selinux profile cdi_spec_dirs'
failed=0
all=$(find core -name '*.[ch]' ! -path 'core/conf/*' ! -path 'core/cli/*' -exec cat {} +)
keys=$(sed -n 's/^KM\{0,1\}(\([a-z_0-9]*\), .*/\1/p' core/conf/keys.def | sort -u)
todo=$(grep -E '^KM?\([a-z_0-9]+, [A-Z]+, .*(\<T\>|KEY_TODO)[^"]*, "' core/conf/keys.def | sed 's/^KM\{0,1\}(\([a-z_0-9]*\),.*/\1/')
used=$(printf '%s\n' "$all" | grep -oE '(\.|->)[a-z_0-9]+' | sed 's/^[.>-]*//' | sort -u)
for k in $keys; do
	case " $(echo $inside $elsewhere) " in *" $k "*) continue ;; esac
	marked=0 named=0
	printf '%s\n' "$todo" | grep -qx "$k" && marked=1
	printf '%s\n' "$used" | grep -qx "$k" && named=1
	if [ $marked -eq 1 ] && [ $named -eq 1 ]; then
		echo "core/conf/keys.def: $k is used now: remove its mark T" >&2
		failed=1
	elif [ $marked -eq 0 ] && [ $named -eq 0 ]; then
		echo "core/conf/keys.def: nothing uses $k: mark it T, or make it work" >&2
		failed=1
	fi
done
exit $failed
