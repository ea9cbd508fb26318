/*
 * pattern.h: regular expressions as hook files mean them: Go's syntax, a match anywhere in the text. RE2 is the same language by
 * the same author and matches in linear time, so that no file and no annotation makes a container wait. POSIX's of libc is another
 * language (no \d, no (?i), other alternatives win) and PCRE2 a larger one that backtracks.
 */
#ifndef OCIHOOKS_PATTERN_H
#define OCIHOOKS_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PATTERN_MAX 4096	 /* bytes of one */
#define PATTERN_MEM (256 << 10) /* bytes that its program and its automaton may take */

struct pattern;
/* NULL when it is no pattern, too large, or without memory: why gets a text of at most n bytes. */
struct pattern *oh_pattern_new(const char *text, char *why, size_t n);
void oh_pattern_free(struct pattern *p);
/* Thread-safe. */
bool oh_pattern_match(const struct pattern *p, const char *text);

#ifdef __cplusplus
}
#endif
#endif
