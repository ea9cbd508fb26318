/* probe.h: what `crio --probe-plugin KIND PATH DIR` does. For core/cli only; not for people. */
#ifndef PLUGIN_PROBE_H
#define PLUGIN_PROBE_H

/* Loads, opens, checks and closes the plugin. Prints why on standard output and ends the process when it fails.
 * dir: where the plugin's records go; its maker's, who removes it. */
int probe_main(const char *kind_name, const char *path, const char *dir);

#endif
