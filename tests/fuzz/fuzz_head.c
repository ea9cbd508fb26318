/* fuzz_head.c: the head of a request to the streaming server, and what is asked of it. */
#include <stdint.h>

#include "core/stream/http.h"
#include "core/stream/status.h"
#include "core/stream/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct http_request q;
	struct buf why = BUF_INIT;
	struct strv v = STRV_INIT;
	char accept[WS_ACCEPT_SIZE];
	uint16_t w, h;
	size_t end = n <= HTTP_HEAD_MAX ? http_head_end((const char *)data, n, 0) : 0;
	char *copy = end ? malloc(end) : NULL;

	(void)size_parse_json((const char *)data, n, &w, &h);
	if (copy) {
		memcpy(copy, data, end);
		if (http_parse(copy, end, &q, &why) == 0) {
			if (*q.path != '/' || !*q.method || q.n > HTTP_HEADERS_MAX || why.n)
				__builtin_trap();
			for (size_t i = 0; i < q.n; i++)
				if (!*q.v[i].name || strpbrk(q.v[i].value, "\r\n"))
					__builtin_trap();
			(void)http_tokens(&q, "upgrade", &v);
			(void)http_has_token(&q, "connection", "upgrade");
			if (http_get(&q, "sec-websocket-key") && ws_key_valid(http_get(&q, "sec-websocket-key")))
				ws_accept(http_get(&q, "sec-websocket-key"), accept);
		}
	}
	strv_release(&v);
	buf_release(&why);
	free(copy);
	return 0;
}
