/* pattern.cc: RE2 behind a C interface. No exception leaves this file. */
#include "plugins/hooks/ocihooks/pattern.h"

#include <re2/re2.h>

#include <stdio.h>
#include <string.h>

struct pattern {
	RE2 re;
	pattern(const re2::StringPiece &text, const RE2::Options &options) : re(text, options) {}
};

extern "C" struct pattern *oh_pattern_new(const char *text, char *why, size_t n)
{
	if (strlen(text) > PATTERN_MAX) {
		(void)snprintf(why, n, "the pattern is longer than %d bytes", PATTERN_MAX);
		return nullptr;
	}
	struct pattern *p = nullptr;
	try {
		RE2::Options options;
		options.set_log_errors(false);
		options.set_max_mem(PATTERN_MEM);
		p = new pattern(text, options);
		if (p->re.ok())
			return p;
		(void)snprintf(why, n, "%s", p->re.error().c_str());
	} catch (...) {
		(void)snprintf(why, n, "no memory");
	}
	delete p;
	return nullptr;
}

extern "C" void oh_pattern_free(struct pattern *p)
{
	delete p;
}

extern "C" bool oh_pattern_match(const struct pattern *p, const char *text)
{
	try {
		return RE2::PartialMatch(text, p->re);
	} catch (...) {
		return false;
	}
}
