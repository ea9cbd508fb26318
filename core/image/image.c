/* image.c: struct image, and what can be told of an image without a catalogue. */
#include <string.h>
#include <strings.h>

#include "core/image/images_priv.h"

struct image *image_ref(struct image *im)
{
	im->refs++;
	return im;
}

void image_unref(struct image *im)
{
	if (!im || --im->refs)
		return;
	strv_release(&im->names);
	strv_release(&im->repo_tags);
	strv_release(&im->repo_digests);
	strv_release(&im->entrypoint);
	strv_release(&im->cmd);
	strv_release(&im->env);
	strv_release(&im->volumes);
	strv_release(&im->exposed_ports);
	kvs_release(&im->labels);
	kvs_release(&im->annotations);
	free(im->digest);
	free(im->architecture);
	free(im->os);
	free(im->variant);
	free(im->user);
	free(im->workdir);
	free(im->stop_signal);
	free(im->username);
	free(im->config_json);
	free(im);
}

struct image *image_new(const char *id)
{
	struct image *im = calloc(1, sizeof(*im));

	if (!im)
		return NULL;
	im->refs = 1;
	(void)snprintf(im->id, sizeof(im->id), "%s", id);
	im->digest = strdup("");
	im->architecture = strdup("");
	im->os = strdup("");
	im->variant = strdup("");
	im->user = strdup("");
	im->workdir = strdup("");
	im->stop_signal = strdup("");
	im->username = strdup("");
	im->config_json = strdup("");
	if (im->digest && im->architecture && im->os && im->variant && im->user && im->workdir && im->stop_signal &&
	    im->username && im->config_json)
		return im;
	image_unref(im);
	return NULL;
}

const char *image_ref_of(const struct image *im)
{
	return im->repo_digests.n ? im->repo_digests.v[0] : im->id;
}

const char *image_id_of_text(const char *text)
{
	if (str_starts(text, "sha256:"))
		text += 7;
	return str_is_hex(text, 64) ? text : NULL;
}

/* Case is ignored; needle has n bytes. */
static bool contains(const char *text, const char *needle, size_t n)
{
	size_t len = strlen(text);

	for (size_t i = 0; i + n <= len; i++)
		if (!strncasecmp(text + i, needle, n))
			return true;
	return false;
}

/* "name", "prefix*", "*word*": as CRI-O reads them, a prefix counts anywhere in the name. */
static bool pattern_match(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);

	if (n >= 2 && pattern[0] == '*' && pattern[n - 1] == '*')
		return contains(name, pattern + 1, n - 2);
	if (n && pattern[n - 1] == '*')
		return contains(name, pattern, n - 1);
	return !strcasecmp(pattern, name);
}

bool pinned_match(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->image.pinned_images.n; i++)
		if (pattern_match(conf->image.pinned_images.v[i], name))
			return true;
	return str_set(conf->image.pause_image) && pattern_match(conf->image.pause_image, name);
}
